//! One prompt being rendered: the messages it makes, in the recorded order, and what it leaves.
//!
//! Part of `core`'s state machine: no clock, no I/O. Times follow recording 27, scaled.

mod tell;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::core::{Later, State, To};
use super::files::{self, Folder};
use super::graph::{self, Plan, Prompt};
use super::history::Entry;
use super::queue::Job;
use super::scenario::{Action, Moment, Occasion};
use super::{Dialect, clips, object_info, wire};

/// Seconds of the warm run of recording 27: `render_seconds` is measured against it.
pub(super) const WARM_SECONDS: f64 = 37.4;
/// Where a sampler's first step begins and its last one ends, as parts of its time (recording 27: four steps at most).
/// With more of them what comes before the first takes no longer.
const SAMPLER_LEAD: f64 = 0.17;
const SAMPLER_STEPS: f64 = 0.67;
const FEW_STEPS: u64 = 4;
/// 0.33.0 tells a step when this many milliseconds and half a percent have gone by (recordings 01, 13).
const THIN_MS: f64 = 150.0;

/// The prompt that runs.
#[derive(Debug)]
pub(super) struct Run {
    job: Arc<Job>,
    plan: Plan,
    signs: HashMap<String, u64>,
    cached: HashSet<String>,
    /// Every node started so far: sent whole each time.
    progress: Map<String, Value>,
    executed: Vec<String>,
    outputs: Map<String, Value>,
    meta: Map<String, Value>,
    messages: Vec<Value>,
    /// When it goes on, milliseconds since the epoch.
    pub at: f64,
    stage: Stage,
    pub interrupt: bool,
}

#[derive(Debug)]
enum Stage {
    Pick,
    Work(Work),
    Closing { success: bool },
}

/// A node at work.
#[derive(Debug)]
struct Work {
    node: String,
    steps: u64,
    step: u64,
    first_ms: f64,
    each_ms: f64,
    end_ms: f64,
    told: (u64, f64),
}

#[derive(Debug)]
struct Failure {
    kind: String,
    message: String,
}

/// What a scenario does to a node that starts.
enum Fate {
    Runs,
    Fails(Failure),
    /// The process has died: nobody runs any more.
    Gone,
}

impl Work {
    fn next_ms(&self) -> f64 {
        if self.step < self.steps { self.first_ms + self.each_ms * float(self.step + 1) } else { self.end_ms }
    }
}

impl State {
    /// The worker takes the next prompt.
    pub(super) fn begin(&mut self) {
        let Some(job) = self.queue.pop() else { return };
        self.running = Some(job.clone());
        self.listening = job.client().map(str::to_owned);
        self.last_node = None;
        self.status();
        let signs = graph::signatures(&job.prompt, |name| self.files.content_hash(name));
        if self.dialect == Dialect::V0_3_64 {
            self.clean_cache(&signs);
        }
        let cached: HashSet<String> =
            signs.iter().filter(|(_, sign)| self.cache.contains_key(sign)).map(|(id, _)| id.clone()).collect();
        self.log("started", &job.id, json!({}));
        let mut run = Run {
            plan: Plan::new(&job.prompt, &job.outputs, &cached),
            job: job.clone(),
            signs,
            cached,
            progress: Map::new(),
            executed: Vec::new(),
            outputs: Map::new(),
            meta: Map::new(),
            messages: Vec::new(),
            at: float(self.now),
            stage: Stage::Pick,
            interrupt: false,
        };
        self.add_message(&mut run, "execution_start", json!({"prompt_id": job.id}), false);
        let nodes: Vec<&String> = job.prompt.keys().filter(|id| run.cached.contains(*id)).collect();
        self.add_message(&mut run, "execution_cached", json!({"nodes": nodes, "prompt_id": job.id}), false);
        self.run = Some(run);
    }

    /// Only what this prompt could use stays in the cache. 0.3.64 does so before a job; 0.33.0 only
    /// when one has succeeded, so that a failed or interrupted job costs no later one its cache
    /// (recordings 07 and 10).
    fn clean_cache(&mut self, signs: &HashMap<String, u64>) {
        let current: HashSet<u64> = signs.values().copied().collect();
        self.cache.retain(|sign, _| current.contains(sign));
    }

    /// The next thing that happens to the run.
    pub(super) fn turn(&mut self, mut run: Run) {
        match std::mem::replace(&mut run.stage, Stage::Pick) {
            Stage::Pick => self.pick(run),
            Stage::Work(work) if work.step < work.steps && run.interrupt => self.interrupted(run, &work.node),
            Stage::Work(work) if work.step < work.steps => self.sampler_step(run, work),
            Stage::Work(work) => self.node_done(run, &work),
            Stage::Closing { success } => self.close(run, success),
        }
    }

    fn pick(&mut self, mut run: Run) {
        let dialect = self.dialect;
        let prompt = &run.job.prompt;
        let Some(node) =
            run.plan.next(|id| object_info::is_output(dialect, graph::class(prompt, id))).map(str::to_owned)
        else {
            let id = run.job.id.clone();
            self.tell_end(&mut run, "execution_success", json!({"prompt_id": id}), false);
            return self.closing(run, true);
        };
        if run.cached.contains(&node) {
            let ui = run.signs.get(&node).and_then(|sign| self.cache.get(sign)).cloned().unwrap_or(Value::Null);
            self.tell_output(&mut run, &node, ui);
            self.tell_progress(&mut run, &node, (json!(1), json!(1)), "finished");
            run.plan.done(&node);
            self.run = Some(run);
            return;
        }
        self.tell_progress(&mut run, &node, (json!(0.0), json!(1.0)), "running");
        if let Some(client) = self.listening.clone() {
            self.last_node = Some(node.clone());
            let data = json!({"node": node, "display_node": node, "prompt_id": run.job.id});
            self.send(&To::Client(client), "executing", &data);
        }
        if run.interrupt {
            return self.interrupted(run, &node);
        }
        let class = graph::class(&run.job.prompt, &node).to_owned();
        match self.strike_node(&run, &class) {
            Fate::Runs => {}
            Fate::Fails(failure) => return self.failed(run, &node, &failure),
            Fate::Gone => return,
        }
        if class == "LoadImage"
            && let Some(failure) = self.unreadable(&run.job.prompt, &node)
        {
            return self.failed(run, &node, &failure);
        }
        let work = self.work(&run, &node, &class);
        run.at = work.next_ms();
        run.stage = Stage::Work(work);
        self.run = Some(run);
    }

    fn strike_node(&mut self, run: &Run, class: &str) -> Fate {
        if self.armed.is_empty() {
            return Fate::Runs;
        }
        let graph = Value::Object(run.job.prompt.clone());
        let now = Occasion {
            post: Some(run.job.post),
            prompt: Some(run.job.nth),
            node: Some(class),
            graph: Some(&graph),
            route: None,
        };
        let mut fate = Fate::Runs;
        for action in self.armed.strike(Moment::Node, &now) {
            match action {
                Action::Oom => {
                    self.vram.unload();
                    self.warm.clear();
                    fate = Fate::Fails(Failure { kind: "torch.OutOfMemoryError".to_owned(), message: OOM.to_owned() });
                }
                Action::NodeError(error) => {
                    fate = Fate::Fails(Failure { kind: error.kind, message: format!("{}\n", error.message) });
                }
                Action::Crash(seconds) => {
                    self.crash(seconds);
                    return Fate::Gone;
                }
                other => self.disturb(&other),
            }
        }
        fate
    }

    fn unreadable(&self, prompt: &Prompt, node: &str) -> Option<Failure> {
        let name = graph::input(prompt, node, "image")?.as_str()?;
        let Some(bytes) = self.files.annotated(name) else {
            let message = format!("[Errno 2] No such file or directory: '<comfyui>/input/{name}'\n");
            return Some(Failure { kind: "FileNotFoundError".to_owned(), message });
        };
        let (kind, message) = files::picture_error(name, bytes)?;
        Some(Failure { kind: kind.to_owned(), message })
    }

    fn work(&mut self, run: &Run, node: &str, class: &str) -> Work {
        let prompt = &run.job.prompt;
        let steps = graph::steps(prompt, node).unwrap_or(0);
        let model =
            graph::input(prompt, node, "model").and_then(graph::link).and_then(|(id, _)| run.signs.get(id).copied());
        let cold = model.is_some_and(|model| steps > 0 && self.warm.insert(model));
        let scatter = if self.scale_ms > 0.0 { 0.98 + 0.04 * self.rng.f64() } else { 1.0 };
        let lead = if cold && class == "KSamplerAdvanced" { 5.2 * self.scale_ms } else { 0.0 };
        let length = seconds(prompt, node, class, steps) * self.scale_ms * scatter;
        self.vram.node(class, cold, run.at, lead + length);
        let begin = run.at + lead;
        let before = SAMPLER_LEAD * float(steps.min(FEW_STEPS)) / float(steps.max(1));
        let in_steps = SAMPLER_STEPS + (SAMPLER_LEAD - before);
        Work {
            node: node.to_owned(),
            steps,
            step: 0,
            first_ms: begin + length * before,
            each_ms: if steps > 0 { length * in_steps / float(steps) } else { 0.0 },
            end_ms: begin + length,
            told: (0, f64::NEG_INFINITY),
        }
    }

    fn sampler_step(&mut self, mut run: Run, mut work: Work) {
        work.step += 1;
        let previews = self.previews_for(&run.job);
        let (before, when) = work.told;
        let thinned = self.dialect == Dialect::V0_33_0 && !previews;
        let much = (work.step - before) * 200 >= work.steps && run.at - when >= THIN_MS;
        if !thinned || work.step == 1 || work.step == work.steps || much {
            work.told = (work.step, run.at);
            self.tell_step(&mut run, &work, previews);
        }
        run.at = work.next_ms();
        run.stage = Stage::Work(work);
        self.run = Some(run);
    }

    fn node_done(&mut self, mut run: Run, work: &Work) {
        let node = &work.node;
        let ui = match self.save(&run.job.prompt, node) {
            Ok(ui) => ui,
            Err(failure) => return self.failed(run, node, &failure),
        };
        if let Some(sign) = run.signs.get(node) {
            self.cache.insert(*sign, ui.clone());
        }
        self.tell_output(&mut run, node, ui);
        let full = if work.steps > 0 { (json!(work.steps), json!(work.steps)) } else { (json!(1.0), json!(1.0)) };
        self.tell_progress(&mut run, node, full, "finished");
        run.executed.push(node.clone());
        run.plan.done(node);
        self.run = Some(run);
    }

    /// What a node saves: its `ui` output, or null.
    fn save(&mut self, prompt: &Prompt, node: &str) -> Result<Value, Failure> {
        let class = graph::class(prompt, node).to_owned();
        let seed = graph::seed(prompt, node);
        let (folder, prefix) = match class.as_str() {
            "SaveImage" | "SaveVideo" => {
                let prefix =
                    graph::input(prompt, node, "filename_prefix").map_or_else(|| "ComfyUI".to_owned(), wire::str);
                (Folder::Output, prefix)
            }
            "PreviewImage" => (Folder::Temp, format!("ComfyUI_temp_{}", self.temp_tag)),
            "PreviewAny" => return Ok(json!({"text": [shown_text(prompt, node)]})),
            _ => return Ok(Value::Null),
        };
        let (width, height, _) = graph::size(prompt, node).unwrap_or((512, 512, 1));
        let Some(mut place) = self.files.place(folder, &prefix, (width, height), self.now) else {
            let message = "**** ERROR: Saving image outside the output folder is not allowed.\n".to_owned();
            return Err(Failure { kind: "Exception".to_owned(), message });
        };
        let video = class == "SaveVideo";
        let count = if video { 1 } else { graph::batch(prompt, node) };
        let extension = match graph::input(prompt, node, "format").and_then(Value::as_str) {
            Some(format @ ("webm" | "mkv")) if video => format,
            _ if video => "mp4",
            _ => "png",
        };
        let mut items = Vec::new();
        for index in 0..count {
            let bytes = if video {
                Bytes::from_static(clips::clip(seed).mp4)
            } else {
                clips::picture(seed.unwrap_or_else(|| colour(prompt, node)).wrapping_add(index))
            };
            let name = place.take(extension);
            let path = if place.subfolder.is_empty() { name.clone() } else { format!("{}/{name}", place.subfolder) };
            self.store(folder, path, bytes);
            items.push(files::item(&name, &place.subfolder, folder));
        }
        let mut ui = json!({"images": items});
        if video {
            ui["animated"] = json!([true]);
        }
        Ok(ui)
    }

    fn interrupted(&mut self, mut run: Run, node: &str) {
        let data = json!({
            "prompt_id": run.job.id, "node_id": node,
            "node_type": graph::class(&run.job.prompt, node), "executed": run.executed,
        });
        self.tell_end(&mut run, "execution_interrupted", data, true);
        self.closing(run, false);
    }

    fn failed(&mut self, mut run: Run, node: &str, failure: &Failure) {
        let prompt = &run.job.prompt;
        let class = graph::class(prompt, node);
        let given = graph::inputs(prompt, node).into_iter().flatten();
        let told =
            |value: &Value| if graph::link(value).is_some() { json!("<simulated object>") } else { value.clone() };
        let inputs: Map<String, Value> = given.map(|(name, value)| (name.clone(), json!([told(value)]))).collect();
        let frame = |file: &str, line: u32, name: &str| {
            format!("  File \"<comfyui>/{file}\", line {line}, in {name}\n    <source line trimmed>\n")
        };
        let data = json!({
            "prompt_id": run.job.id,
            "node_id": node,
            "node_type": class,
            "executed": run.executed,
            "exception_message": failure.message,
            "exception_type": failure.kind,
            "traceback": [
                frame("execution.py", 545, "execute"),
                frame("execution.py", 344, "get_output_data"),
                frame("execution.py", 318, "_async_map_node_over_list"),
                frame("execution.py", 306, "process_inputs"),
                frame("nodes.py", 1765, &class.to_lowercase()),
            ],
            "current_inputs": inputs,
            "current_outputs": prompt.keys().collect::<Vec<_>>(),
        });
        self.tell_end(&mut run, "execution_error", data, false);
        self.closing(run, false);
    }

    /// The end was told; the history follows a moment later (recording 25).
    fn closing(&mut self, mut run: Run, success: bool) {
        run.at += (0.35 * self.scale_ms).max(1.0);
        run.stage = Stage::Closing { success };
        self.run = Some(run);
    }

    fn close(&mut self, run: Run, success: bool) {
        let last = run.messages.last().and_then(|pair| pair.get(0)).and_then(Value::as_str).unwrap_or("").to_owned();
        self.log("ended", &run.job.id, json!({"as": last, "outputs": run.outputs}));
        if success && self.dialect == Dialect::V0_33_0 {
            self.clean_cache(&run.signs);
        }
        let Run { job, outputs, meta, messages, .. } = run;
        let (id, habits) = (job.id.clone(), job.habits);
        let entry = Entry { job, outputs, meta, success, messages };
        if habits.history_late_ms > 0 {
            self.after_ms(habits.history_late_ms, Later::History(Box::new(entry)));
        } else if !habits.history_missing {
            self.history.insert(entry);
        }
        self.running = None;
        self.last_node = None;
        self.status();
        if let Some(client) = self.listening.clone().filter(|_| !habits.silent_end) {
            self.send(&To::Client(client), "executing", &json!({"node": null, "prompt_id": id}));
        }
        self.vram.job_done(float(self.now));
        self.free_now();
        if !self.queue.is_empty() {
            self.start_at = Some(self.now);
        }
    }
}

/// The recorded words (28).
const OOM: &str = "Allocation on device 0 would exceed allowed memory. (out of memory)\n\
Currently allocated     : 8.63 GiB\n\
Requested               : 1.96 GiB\n\
Device limit            : 12.00 GiB\n\
Free (according to CUDA): 0.94 GiB\n\
PyTorch limit (set by user-supplied memory fraction)\n                        : 11.50 GiB\n\
This error means you ran out of memory on your GPU.\n\n\
TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.";

/// Seconds of a node on the card of recording 27, its model there already.
fn seconds(prompt: &Prompt, node: &str, class: &str, steps: u64) -> f64 {
    let (width, height, frames) = graph::size(prompt, node).unwrap_or((512, 512, 1));
    let pixels = float(width) * float(height);
    // Share of the recorded render, within reason.
    let share = (pixels * float(frames) / (480.0 * 848.0 * 129.0)).clamp(0.02, 16.0);
    match class {
        "CLIPLoader" => 6.8,
        "CheckpointLoaderSimple" | "UNETLoader" => 3.0,
        "VAELoader" => 0.3,
        "CLIPTextEncode" => 0.4,
        "WanFirstLastFrameToVideo" | "WanImageToVideo" => 3.0 * share,
        "KSamplerAdvanced" if frames > 1 => 6.85 * share * float(steps),
        "KSampler" | "KSamplerAdvanced" => (0.15 + 0.4 * pixels / (1024.0 * 1024.0)) * float(steps),
        "VAEDecode" => (3.9 * share).max(0.04),
        "SaveVideo" => (6.1 * share).max(0.04),
        "LoraLoaderModelOnly" | "LoraLoader" => 0.065,
        _ => 0.02,
    }
}

fn colour(prompt: &Prompt, node: &str) -> u64 {
    graph::above(prompt, node, |id, _| graph::input(prompt, id, "color")?.as_u64()).unwrap_or(0)
}

/// What `PreviewAny` shows.
fn shown_text(prompt: &Prompt, node: &str) -> String {
    let source = graph::input(prompt, node, "source").cloned().unwrap_or(Value::Null);
    let value = graph::link(&source).and_then(|(from, _)| graph::input(prompt, from, "value")).unwrap_or(&source);
    wire::str(value)
}

#[expect(clippy::cast_precision_loss, reason = "steps, pixels and milliseconds are far below 2^52")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
