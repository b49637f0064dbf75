//! One server's connection, held for ever: found, listened to, asked for its memory, found again.
//!
//! It tells the engine what it hears and decides nothing but when to try again.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::core::{About, Heard, Input};
use super::hearing;
use crate::comfy::{Backoff, Binary, Client, ComfyError, Device, Heard as SocketHeard, Socket, SystemStats};
use crate::protocol::{DeviceUse, Sample};

/// How often memory is asked for while something renders, and otherwise.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);
/// While something renders, every so many looks at memory the count is compared, too.
const COUNT_EVERY: u32 = 5;
/// Previews are passed on no faster than this.
const PREVIEW_EVERY: Duration = Duration::from_millis(500);

/// What the engine wants of a connection.
#[derive(Debug)]
pub enum Order {
    /// Try now, whatever the back-off says; a connection that holds is closed first.
    Reconnect,
    /// Ask over the websocket whether its other end lives; the answer carries the token.
    Ping { token: u64 },
}

/// Everything a connection needs.
pub struct Connection {
    pub server: usize,
    pub client: Arc<Client>,
    pub client_id: String,
    pub inputs: mpsc::UnboundedSender<Input>,
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Something renders there.
    pub busy: watch::Receiver<bool>,
    pub previews: Previews,
}

/// What the sampler is at, for those who look.
pub struct Previews {
    /// Somebody does.
    pub wanted: watch::Receiver<bool>,
    pub to: mpsc::UnboundedSender<Preview>,
}

/// A picture as the server sent it.
pub struct Preview {
    pub server: usize,
    /// Whose it is, where the server tells.
    pub prompt_id: Option<String>,
    pub image: Vec<u8>,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Runs until the engine ends.
    pub async fn hold(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let why = match self.find().await {
                Ok((socket, about, remaining)) => {
                    backoff.reset();
                    self.tell(Input::Up { server: self.server, about });
                    self.tell(Input::Heard { server: self.server, heard: Heard::Remaining(remaining) });
                    match self.listen(socket).await {
                        Some(why) => why,
                        // Asked to connect anew: at once.
                        None => continue,
                    }
                }
                Err(error) => {
                    tracing::debug!("server {}: {error}", self.server);
                    why_down(&error)
                }
            };
            let wait = backoff.next(fastrand::f64());
            let retry_at = Timestamp::now()
                .checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO))
                .unwrap_or(Timestamp::MAX);
            self.tell(Input::Down { server: self.server, why, retry_at });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                order = self.orders.recv() => if order.is_none() { return },
            }
        }
    }

    fn tell(&self, input: Input) {
        // The engine is gone: this task goes with it.
        let _ = self.inputs.send(input);
    }

    async fn find(&self) -> Result<(Socket, About, u32), ComfyError> {
        let stats = self.client.system_stats().await?;
        self.client.has_jobs_api().await?;
        let socket = Socket::connect(&self.client, &self.client_id).await?;
        // After the socket: what is counted from now on is also told.
        let remaining = self.client.queue_remaining().await?;
        Ok((socket, about(&stats), remaining))
    }

    /// Listens until the socket is over (why), or a reconnect is asked for (`None`).
    async fn listen(&mut self, mut socket: Socket) -> Option<String> {
        let _poller = AbortOnDrop(tokio::spawn(poll(
            self.server,
            Arc::clone(&self.client),
            self.inputs.clone(),
            self.busy.clone(),
        )));
        // When a preview was passed on.
        let mut last = None;
        loop {
            tokio::select! {
                heard = socket.next() => match heard {
                    Ok(SocketHeard::Message(message)) => {
                        self.tell(Input::Heard { server: self.server, heard: hearing::heard(message) });
                    }
                    Ok(SocketHeard::Pong(token)) => {
                        self.tell(Input::Heard { server: self.server, heard: Heard::Pong { token } });
                    }
                    Ok(SocketHeard::Binary(binary)) => {
                        if let Binary::Preview { of, image, .. } = binary
                            && *self.previews.wanted.borrow()
                            && last.is_none_or(|last: Instant| last.elapsed() >= PREVIEW_EVERY)
                        {
                            last = Some(Instant::now());
                            let prompt_id = of.and_then(|of| of.prompt_id);
                            let _ = self.previews.to.send(Preview { server: self.server, prompt_id, image });
                        }
                        self.tell(Input::Heard { server: self.server, heard: Heard::Other });
                    }
                    Err(closed) => return Some(closed.to_string()),
                },
                order = self.orders.recv() => {
                    if let Some(Order::Ping { token }) = order {
                        match socket.probe(token).await {
                            Ok(()) => continue,
                            Err(closed) => return Some(closed.to_string()),
                        }
                    }
                    // The old one must be closed before a new one opens under the same clientId.
                    socket.close().await;
                    return if order.is_none() { Some("the engine ends".to_owned()) } else { None };
                }
            }
        }
    }
}

async fn poll(
    server: usize,
    client: Arc<Client>,
    inputs: mpsc::UnboundedSender<Input>,
    mut busy: watch::Receiver<bool>,
) {
    let mut looks = 0;
    let mut last = Instant::now();
    loop {
        let is_busy = *busy.borrow_and_update();
        // From the last look on, however often it becomes busy and idle in between.
        let due = last + if is_busy { BUSY } else { IDLE };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = busy.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        }
        last = Instant::now();
        match client.system_stats().await {
            Ok(stats) => {
                if let Some(sample) = sample(&stats) {
                    let _ = inputs.send(Input::Stats { server, sample });
                }
            }
            Err(error) => tracing::debug!("server {server}: {error}"),
        }
        looks += 1;
        if is_busy
            && looks % COUNT_EVERY == 0
            && let Ok(remaining) = client.queue_remaining().await
        {
            let _ = inputs.send(Input::Count { server, remaining });
        }
    }
}

/// Why a server can't be had: in the few words that a banner has room for, and where those leave something to be
/// asked, all of it on a second line (see [`Link::Down`](crate::protocol::Link)).
fn why_down(error: &ComfyError) -> String {
    let short = match error {
        ComfyError::Refused { source, .. } => {
            let mut inner: &(dyn std::error::Error + 'static) = source.as_ref();
            while let Some(next) = inner.source() {
                inner = next;
            }
            return match inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::ConnectionRefused) => "refused".to_owned(),
                _ => crate::text::clean(&inner.to_string()).into_owned(),
            };
        }
        ComfyError::TimedOut { .. } => return "does not answer".to_owned(),
        ComfyError::Unauthorized { code, .. } => format!("{code}: wants headers"),
        ComfyError::NotComfyUi { what, .. } => match what.split('"').nth(1) {
            Some(title) => format!("not ComfyUI ({title})"),
            None => "not ComfyUI".to_owned(),
        },
        ComfyError::Status { code, .. } => format!("answers {code}"),
        ComfyError::Unreadable { .. } | ComfyError::TooBig { .. } => "not ComfyUI".to_owned(),
        ComfyError::Cut { .. } => "answers are cut off".to_owned(),
        other => return other.to_string(),
    };
    format!("{short}\n{error}")
}

fn about(stats: &SystemStats) -> About {
    let device = stats.devices.first();
    let name = |device: &Device| crate::text::clean(&device.name).into_owned();
    About {
        version: stats.comfyui_version.as_deref().map(|v| crate::text::clean(v).into_owned()).unwrap_or_default(),
        device: device.map(name),
        other_devices: stats.devices.iter().skip(1).map(name).collect(),
        is_cpu: device.is_some_and(Device::is_cpu),
        flags: stats.argv.iter().filter(|a| a.starts_with("--")).map(|a| crate::text::clean(a).into_owned()).collect(),
        sample: sample(stats),
    }
}

fn sample(stats: &SystemStats) -> Option<Sample> {
    let mut devices = stats.devices.iter().map(|device| DeviceUse {
        vram_total: device.vram_total,
        vram_used: device.used(),
        torch: if device.is_cpu() { 0 } else { device.torch_used() },
    });
    let DeviceUse { vram_total, vram_used, torch } = devices.next()?;
    Some(Sample {
        at: Timestamp::now(),
        vram_total,
        vram_used,
        torch,
        ram_total: stats.ram_total,
        ram_used: stats.ram_total.saturating_sub(stats.ram_free),
        others: devices.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_says_why_a_server_is_away_in_few_words_and_the_rest_follows() {
        let at = || "GET http://127.0.0.1:8188/system_stats".to_owned();
        let page = "an HTML page (\"Router login\")".to_owned();
        for (error, short) in [
            (ComfyError::NotComfyUi { at: at(), code: 200, what: page }, "not ComfyUI (Router login)"),
            (ComfyError::NotComfyUi { at: at(), code: 200, what: "an empty body".to_owned() }, "not ComfyUI"),
            (ComfyError::Unauthorized { at: at(), code: 401 }, "401: wants headers"),
            (ComfyError::Status { at: at(), code: 502, excerpt: "Bad Gateway".to_owned() }, "answers 502"),
        ] {
            let why = why_down(&error);
            assert_eq!(why.split_once('\n'), Some((short, error.to_string().as_str())));
        }
    }

    /// Recording 27, a real GPU: torch keeps more in reserve than it uses, and only what it uses counts as used.
    #[test]
    fn torch_has_no_more_than_what_is_used() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/gpu-0.3.64/27-wan-loop-gpu.json");
        let recording: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let stats = recording["exchanges"].as_array().unwrap().iter().filter_map(|e| e.get("stats"));
        let mut moments = 0;
        for device in stats {
            let body = serde_json::json!({"system": {}, "devices": [device]}).to_string();
            let sample = sample(&crate::comfy::answer::parse_system_stats(body.as_bytes()).unwrap()).unwrap();
            assert!(sample.torch <= sample.vram_used, "{sample:?} of {device}");
            let reserved = device["torch_vram_total"].as_u64().unwrap();
            moments += u32::from(reserved > sample.vram_used);
        }
        assert!(moments > 0, "the recording has moments in which the reserve is more than what is used");
    }

    #[test]
    fn every_device_is_kept() {
        let gpu = |name: &str, total: u64, free: u64| {
            serde_json::json!({"name": name, "type": "cuda", "vram_total": total, "vram_free": free,
                "torch_vram_total": 50, "torch_vram_free": 20})
        };
        let body = serde_json::json!({"system": {"ram_total": 9, "ram_free": 2},
            "devices": [gpu("cuda:0 NVIDIA A : x", 100, 40), gpu("cuda:1 NVIDIA B : x", 200, 50)]});
        let stats = crate::comfy::answer::parse_system_stats(body.to_string().as_bytes()).unwrap();
        let about = about(&stats);
        assert_eq!(
            (about.device.as_deref(), about.other_devices.as_slice()),
            (Some("NVIDIA A"), &["NVIDIA B".to_owned()][..])
        );
        let devices: Vec<_> = sample(&stats).unwrap().devices().collect();
        let used = |vram_total, vram_used| DeviceUse { vram_total, vram_used, torch: 30 };
        assert_eq!(devices, [used(100, 60), used(200, 150)]);
    }

    #[tokio::test]
    async fn a_server_that_flips_between_busy_and_idle_is_asked_all_the_same() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Arc::new(Client::new(&url, &std::collections::BTreeMap::new()).unwrap());
        let (inputs, _heard) = mpsc::unbounded_channel();
        let (busy, is_busy) = watch::channel(true);
        let _poller = AbortOnDrop(tokio::spawn(poll(0, client, inputs, is_busy)));
        let flapping = async {
            // Far more often than it is asked.
            loop {
                tokio::time::sleep(BUSY / 20).await;
                busy.send_modify(|b| *b = !*b);
            }
        };
        tokio::select! {
            asked = listener.accept() => drop(asked.unwrap()),
            () = flapping => {}
            () = tokio::time::sleep(Duration::from_mins(1)) => panic!("never asked"),
        }
    }
}
