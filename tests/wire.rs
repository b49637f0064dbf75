//! The ComfyUI client against recordings of two real servers (and three runs on a GPU), and
//! against servers that misbehave. No ComfyUI, no network but loopback.

mod wire {
    mod answers;
    mod docs;
    mod messages;
    mod misbehaving;
    mod recordings;
    mod requests;
    mod server;
    mod sockets;
}
