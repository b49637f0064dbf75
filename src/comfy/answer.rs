//! The bodies of ComfyUI's HTTP answers, and what they mean.
//!
//! Pure: bytes in, values out; the client and the replay tests go through the same functions.
//! Whole prompts, which `/queue` and `/history` repeat for everybody's jobs, are skipped over, not
//! kept. Fields that are missing or of another type are left out; only a body that is not the
//! object it should be is an error.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

use super::json::{self, Entries, Scalar, count, text, texts};

/// `GET /system_stats`. Bytes throughout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemStats {
    pub comfyui_version: Option<String>,
    pub os: Option<String>,
    pub argv: Vec<String>,
    pub ram_total: u64,
    pub ram_free: u64,
    pub devices: Vec<Device>,
}

/// One device as the server sees it. Bytes throughout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// As people say it: `NVIDIA H100 80GB HBM3`, not `cuda:0 NVIDIA H100 80GB HBM3 : cudaMallocAsync`.
    pub name: String,
    /// `cuda`, `cpu`, `mps`, …
    pub kind: String,
    pub vram_total: u64,
    /// Counts what torch has reserved but not used as free.
    pub vram_free: u64,
    /// What torch has reserved; 0 before its first use.
    pub torch_vram_total: u64,
    /// The unused part of what torch has reserved.
    pub torch_vram_free: u64,
}

impl Device {
    /// In use by anyone (torch's reserve counts as free): total − free.
    pub fn used(&self) -> u64 {
        self.vram_total.saturating_sub(self.vram_free)
    }

    /// In use by this server's torch: reserved − the unused part of it. Says nothing on a CPU,
    /// where the server gives the machine's RAM for both.
    pub fn torch_used(&self) -> u64 {
        self.torch_vram_total.saturating_sub(self.torch_vram_free)
    }

    /// No GPU: the numbers are RAM.
    pub fn is_cpu(&self) -> bool {
        self.kind == "cpu"
    }
}

/// # Errors
/// Not JSON, or not an object with `system`.
pub fn parse_system_stats(body: &[u8]) -> Result<SystemStats, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        system: Entries<Value>,
        #[serde(default)]
        devices: Vec<Value>,
    }
    let wire: Wire = json::parse(body)?;
    let null = Value::Null;
    let system = |key: &str| wire.system.0.iter().find(|(name, _)| name == key).map_or(&null, |(_, value)| value);
    let devices = wire.devices.iter().map(|device| {
        let bytes = |key: &str| device.get(key).and_then(count).unwrap_or(0);
        let word = |key: &str| device.get(key).and_then(text).unwrap_or_default();
        Device {
            name: device_name(&word("name")),
            kind: word("type"),
            vram_total: bytes("vram_total"),
            vram_free: bytes("vram_free"),
            torch_vram_total: bytes("torch_vram_total"),
            torch_vram_free: bytes("torch_vram_free"),
        }
    });
    Ok(SystemStats {
        comfyui_version: text(system("comfyui_version")),
        os: text(system("os")),
        argv: texts(system("argv")),
        ram_total: count(system("ram_total")).unwrap_or(0),
        ram_free: count(system("ram_free")).unwrap_or(0),
        devices: devices.collect(),
    })
}

/// The middle of `cuda:0 NAME : allocator`.
fn device_name(name: &str) -> String {
    let name = name.rsplit_once(" : ").map_or(name, |(front, _)| front);
    match name.split_once(' ') {
        Some((address, rest)) if address.contains(':') => rest.trim().to_owned(),
        _ => name.trim().to_owned(),
    }
}

/// `GET /prompt`: running + pending, everybody's.
///
/// # Errors
/// Not JSON, or without the count.
pub fn parse_queue_remaining(body: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        exec_info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        queue_remaining: u32,
    }
    json::parse::<Wire>(body).map(|wire| wire.exec_info.queue_remaining)
}

/// What a server holds. `pending` stands in the order in which it will run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Queue {
    pub running: Vec<QueueItem>,
    pub pending: Vec<QueueItem>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct QueueItem {
    /// The server's order: an integer, a float or negative.
    pub number: f64,
    pub prompt_id: String,
    /// Whose it is; `None` for jobs of scripts that named none, and where the jobs API was asked.
    pub client_id: Option<String>,
}

impl Queue {
    /// Equal numbers run in the order of their ids as text.
    pub(super) fn in_run_order(mut self) -> Self {
        self.pending.sort_by(|a, b| a.number.total_cmp(&b.number).then_with(|| a.prompt_id.cmp(&b.prompt_id)));
        self
    }
}

/// `GET /queue`.
///
/// # Errors
/// Not JSON, or without the two lists.
pub fn parse_queue(body: &[u8]) -> Result<Queue, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        queue_running: Vec<Tuple>,
        queue_pending: Vec<Tuple>,
    }
    let wire: Wire = json::parse(body)?;
    let items = |list: Vec<Tuple>| list.into_iter().filter_map(|item| item.0).collect();
    Ok(Queue { running: items(wire.queue_running), pending: items(wire.queue_pending) }.in_run_order())
}

/// `[number, id, prompt, extra_data, outputs, …]`, of which the prompt is skipped.
struct Tuple(Option<QueueItem>);

impl<'de> Deserialize<'de> for Tuple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TupleVisitor)
    }
}

struct TupleVisitor;

impl<'de> Visitor<'de> for TupleVisitor {
    type Value = Tuple;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of number, prompt_id, prompt, extra_data, outputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tuple, A::Error> {
        let number = list.next_element::<Value>()?.and_then(|number| number.as_f64()).unwrap_or(0.0);
        let prompt_id = list.next_element::<Value>()?.as_ref().and_then(text);
        list.next_element::<IgnoredAny>()?;
        let extra = list.next_element::<Entries<Scalar>>()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        let client_id = extra.0.into_iter().find(|(key, _)| key == "client_id").and_then(|(_, value)| value.0);
        Ok(Tuple(prompt_id.map(|prompt_id| QueueItem { number, prompt_id, client_id })))
    }
}

/// `POST /upload/image`: the name to put into a graph, with its subfolder. It may differ from the
/// name that was sent. A name outside the input folder carries where it is (`x.png [temp]`).
///
/// # Errors
/// Not JSON, or without `name`.
pub fn parse_uploaded(body: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        name: String,
        #[serde(default)]
        subfolder: Value,
        #[serde(default, rename = "type")]
        kind: Value,
    }
    let wire: Wire = json::parse(body)?;
    let mut name = match wire.subfolder.as_str() {
        Some(folder) if !folder.is_empty() => format!("{folder}/{}", wire.name),
        _ => wire.name,
    };
    if let Some(kind) = wire.kind.as_str().filter(|kind| *kind != "input") {
        name = format!("{name} [{kind}]");
    }
    Ok(name)
}
