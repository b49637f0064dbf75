//! The memory of the simulated card: rises with the loaders and samplers, falls a bit at the end,
//! as in recording 27, in fractions of the card.
//!
//! Pure. `vram_free` counts what torch has reserved and not used as free, as the real one does.

use serde_json::{Value, json};

use super::Dialect;

/// What the driver and the desktop take.
const IDLE: f64 = 0.045;

/// How full the card is, as a line from one level to the next.
#[derive(Debug, Clone)]
pub struct Vram {
    total: u64,
    from: f64,
    to: f64,
    start_ms: f64,
    ramp_ms: f64,
    reserved: f64,
}

impl Vram {
    pub fn new(total: u64) -> Self {
        Self { total, from: IDLE, to: IDLE, start_ms: 0.0, ramp_ms: 0.0, reserved: 0.0 }
    }

    /// Models unloaded, nothing reserved.
    pub fn unload(&mut self) {
        *self = Self::new(self.total);
    }

    /// A node of this class starts and will take `run_ms`; `cold`: its model is not on the card yet.
    pub fn node(&mut self, class: &str, cold: bool, now_ms: f64, run_ms: f64) {
        let (level, ramp) = match class {
            "CLIPLoader" | "CheckpointLoaderSimple" => (0.46, 0.1),
            "CLIPTextEncode" => (0.50, 0.3),
            "WanFirstLastFrameToVideo" | "WanImageToVideo" => (0.58, 0.3),
            "UNETLoader" => (0.54, 0.2),
            "KSamplerAdvanced" | "KSampler" => (0.93, if cold { 0.4 } else { 0.05 }),
            "VAEDecode" => (0.88, 0.1),
            "SaveVideo" => (0.80, 0.1),
            _ => return,
        };
        let before = self.level(now_ms);
        // A loader never pushes anything out in a warm server.
        let to = if level < before && class.ends_with("Loader") { before } else { level };
        *self = Self { from: before, to, start_ms: now_ms, ramp_ms: run_ms * ramp, ..self.clone() };
        self.reserved = self.reserved.max(to - IDLE).max(before - IDLE);
    }

    /// The job has ended: the models stay, the work space goes.
    pub fn job_done(&mut self, now_ms: f64) {
        let level = self.level(now_ms);
        if level > IDLE {
            let to = (level - 0.08).max(IDLE);
            *self = Self { from: to, to, start_ms: now_ms, ramp_ms: 0.0, ..self.clone() };
            self.reserved = (to - IDLE) * 1.04;
        }
    }

    fn level(&self, now_ms: f64) -> f64 {
        let passed = if self.ramp_ms > 0.0 { ((now_ms - self.start_ms) / self.ramp_ms).clamp(0.0, 1.0) } else { 1.0 };
        self.from + (self.to - self.from) * passed
    }

    /// The body of `/system_stats`.
    pub fn stats(&self, dialect: Dialect, now_ms: f64) -> Value {
        let used = self.level(now_ms);
        let bytes = |share: f64| part(self.total, share);
        let (used, torch) = (bytes(used), bytes(used - IDLE));
        let reserved = bytes(self.reserved).max(torch);
        let device = json!({
            "name": "cuda:0 NVIDIA GeForce RTX 4070 : cudaMallocAsync",
            "type": "cuda",
            "index": 0,
            "vram_total": self.total,
            "vram_free": self.total - used,
            "torch_vram_total": reserved,
            "torch_vram_free": reserved - torch,
        });
        let ram_total = 64_u64 << 30;
        let ram_free = ram_total - (6 << 30) - torch;
        let new = dialect == Dialect::V0_33_0;
        let mut system = json!({
            "os": if new { "linux" } else { "posix" },
            "ram_total": ram_total,
            "ram_free": ram_free,
            "comfyui_version": dialect.version(),
            "required_frontend_version": if new { "1.49.6" } else { "1.27.10" },
            "installed_templates_version": if new { "0.11.44" } else { "0.1.95" },
            "required_templates_version": if new { "0.11.44" } else { "0.1.95" },
        });
        let mut add = |key: &str, value: Value| system.as_object_mut().map(|map| map.insert(key.to_owned(), value));
        if new {
            let package = |name: &str, version: &str| json!({"name": name, "installed": version, "required": version});
            add(
                "comfy_package_versions",
                json!([
                    package("comfyui-frontend-package", "1.49.6"),
                    package("comfyui-workflow-templates", "0.11.44"),
                ]),
            );
        }
        add("python_version", json!("3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]"));
        add("pytorch_version", json!("2.15.0+cu132"));
        add("embedded_python", json!(false));
        if new {
            add("deploy_environment", json!("local-git"));
        }
        add("argv", json!(["main.py", "--comfytop-simulated"]));
        json!({"system": system, "devices": [device]})
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share between 0 and 1 of a card's bytes, shown as MB"
)]
fn part(total: u64, share: f64) -> u64 {
    (total as f64 * share.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_rises_and_falls_within_the_card() {
        let mut vram = Vram::new(12 << 30);
        let used = |vram: &Vram, now| {
            let device = vram.stats(Dialect::V0_33_0, now)["devices"][0].clone();
            device["vram_total"].as_u64().unwrap() - device["vram_free"].as_u64().unwrap()
        };
        let idle = used(&vram, 0.0);
        vram.node("CLIPLoader", true, 0.0, 1000.0);
        let loaded = used(&vram, 1000.0);
        vram.node("KSamplerAdvanced", true, 1000.0, 1000.0);
        assert!(idle < loaded && loaded < used(&vram, 1300.0) && used(&vram, 1300.0) < used(&vram, 2000.0));
        let peak = used(&vram, 2000.0);
        vram.job_done(2000.0);
        assert!(used(&vram, 2000.0) < peak && used(&vram, 2000.0) > loaded && peak < 12 << 30);
        vram.unload();
        assert_eq!(used(&vram, 3000.0), idle);
        assert_eq!(vram.stats(Dialect::V0_3_64, 0.0)["devices"][0]["torch_vram_total"], 0);
    }
}
