//! The messages of a job that runs: who hears them, and what history keeps.
//!
//! Part of `core`'s state machine: no I/O.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{Run, Work};
use crate::sim::core::{State, To};
use crate::sim::queue::Job;
use crate::sim::{Dialect, clips, graph, wire};

impl State {
    pub(super) fn tell_step(&mut self, run: &mut Run, work: &Work, previews: bool) {
        self.tell_progress(run, &work.node, (json!(work.step), json!(work.steps)), "running");
        let data = json!({"value": work.step, "max": work.steps, "prompt_id": run.job.id, "node": work.node});
        let to = self.audience();
        let socket = self.listening.as_ref().and_then(|client| self.names.get(client)).copied().filter(|_| previews);
        let with_metadata = socket.is_some_and(|socket| self.wants_metadata(socket));
        let picture = socket.map(|_| preview(&run.job, &work.node, with_metadata));
        // Recording 21: the new kind of preview comes before its step, the old kind after it.
        let (before, after) = if with_metadata { (picture, None) } else { (None, picture) };
        if let (Some(socket), Some(picture)) = (socket, before) {
            self.send_binary(socket, picture);
        }
        self.send(&to, "progress", &data);
        if let (Some(socket), Some(picture)) = (socket, after) {
            self.send_binary(socket, picture);
        }
    }

    pub(super) fn previews_for(&self, job: &Job) -> bool {
        let asked = job.extra.get("preview_method").and_then(Value::as_str);
        match (self.dialect, asked) {
            (Dialect::V0_33_0, Some("latent2rgb" | "taesd" | "auto")) => true,
            (Dialect::V0_33_0, Some("none")) => false,
            _ => self.previews,
        }
    }

    pub(super) fn tell_output(&mut self, run: &mut Run, node: &str, ui: Value) {
        if ui.is_null() {
            return;
        }
        if let Some(client) = self.listening.clone() {
            let data = json!({"node": node, "display_node": node, "output": ui, "prompt_id": run.job.id});
            self.send(&To::Client(client), "executed", &data);
        }
        run.outputs.insert(node.to_owned(), ui);
        let meta = json!({"node_id": node, "display_node": node, "parent_node": null, "real_node_id": node});
        run.meta.insert(node.to_owned(), meta);
    }

    pub(super) fn tell_progress(&mut self, run: &mut Run, node: &str, (value, max): (Value, Value), state: &str) {
        let entry = json!({
            "value": value, "max": max, "state": state, "node_id": node, "prompt_id": run.job.id,
            "display_node_id": node, "parent_node_id": null, "real_node_id": node,
        });
        run.progress.insert(node.to_owned(), entry);
        let to = self.audience();
        if self.anyone_hears(&to) {
            self.send(&to, "progress_state", &json!({"prompt_id": run.job.id, "nodes": run.progress}));
        }
    }

    /// Progress of a job without a `client_id` goes to everybody.
    pub(super) fn audience(&self) -> To {
        self.listening.clone().map_or(To::Everyone, To::Client)
    }

    /// A message that history keeps too; `broadcast`: everybody hears it when nobody is addressed.
    pub(super) fn add_message(&mut self, run: &mut Run, kind: &str, data: Value, broadcast: bool) {
        let data = self.keep_message(run, kind, data);
        match self.listening.clone() {
            Some(client) => self.send(&To::Client(client), kind, &data),
            None if broadcast => self.send(&To::Everyone, kind, &data),
            None => {}
        }
    }

    /// The end of a job, unless a scenario keeps it quiet: history has it all the same.
    pub(super) fn tell_end(&mut self, run: &mut Run, kind: &str, data: Value, broadcast: bool) {
        if run.job.habits.silent_end {
            self.keep_message(run, kind, data);
        } else {
            self.add_message(run, kind, data, broadcast);
        }
    }

    pub(super) fn keep_message(&self, run: &mut Run, kind: &str, mut data: Value) -> Value {
        data["timestamp"] = json!(self.now);
        run.messages.push(json!([kind, data]));
        data
    }
}

/// A preview frame as it goes over the wire (trap 20).
fn preview(job: &Job, node: &str, with_metadata: bool) -> Bytes {
    let jpeg = clips::clip(graph::seed(&job.prompt, node)).jpeg;
    let mut out = BytesMut::with_capacity(jpeg.len() + 256);
    if with_metadata {
        let metadata = wire::to_text(&json!({
            "node_id": node, "prompt_id": job.id, "display_node_id": node,
            "parent_node_id": null, "real_node_id": node, "image_type": "image/jpeg",
        }));
        out.put_u32(4);
        out.put_u32(u32::try_from(metadata.len()).unwrap_or(0));
        out.put_slice(metadata.as_bytes());
    } else {
        out.put_u32(1);
        out.put_u32(1);
    }
    out.put_slice(jpeg);
    out.freeze()
}
