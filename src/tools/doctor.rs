//! `comfytop doctor`: what could go wrong tonight, and what to do about each.
//!
//! It changes nothing: it opens the store for reading only, asks servers for what they tell anybody,
//! and takes away again what it writes to try a folder.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::workflows::profile_faults;
use crate::comfy::{Client, Device, SystemStats};
use crate::config::{Config, DEFAULT_SERVER, ServerConfig};
use crate::folder::{Folder, disk_free, refuse_network_disk};
use crate::protocol::EngineRow;
use crate::store::Store;
use crate::text::{clean, json_text, size_words};
use crate::workflow::{Workflow, WorkflowError};

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// It works, but.
    Warn,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    pub what: String,
    pub words: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// What is looked at.
#[derive(Debug)]
pub struct Patient<'a> {
    pub folder: &'a Folder,
    pub config: &'a Config,
    /// The engine that serves the folder, if one does.
    pub engine: Option<&'a EngineRow>,
    /// This program's version.
    pub version: &'a str,
}

fn ok(what: &str, words: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, what: what.to_owned(), words: words.into(), advice: None }
}

fn warn(what: &str, words: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Warn, what: what.to_owned(), words: words.into(), advice: Some(advice.into()) }
}

fn bad(what: &str, words: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Bad, ..warn(what, words, advice) }
}

/// Looks at everything.
pub async fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(folders(patient.folder));
    found.extend(profiles(patient));
    found.push(store(patient.folder));
    found.push(engine(patient));
    found.extend(disk(patient));
    let large = models(patient.folder, &mut found);
    let usual = [ServerConfig::at(DEFAULT_SERVER)];
    let servers = if patient.config.servers.is_empty() { &usual[..] } else { &patient.config.servers };
    for server in servers {
        found.extend(self::server(server, large).await);
    }
    found.push(ffmpeg());
    found.push(terminal());
    found.extend(logout());
    found
}

/// A line or two for each, or one JSON object a line. True where nothing is bad.
///
/// # Errors
/// Of `out`.
pub fn tell(findings: &[Finding], as_json: bool, out: &mut dyn Write) -> io::Result<bool> {
    for Finding { level, what, words, advice } in findings {
        let word = match level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "bad",
        };
        if as_json {
            let line = json!({"check": what, "level": word, "words": words, "advice": advice});
            writeln!(out, "{}", json_text(&line.to_string()))?;
            continue;
        }
        writeln!(out, "{word:<5} {:<12} {}", clean(what), clean(words))?;
        if let Some(advice) = advice {
            writeln!(out, "{:18} → {}", "", clean(advice))?;
        }
    }
    Ok(findings.iter().all(|f| f.level != Level::Bad))
}

fn folders(folder: &Folder) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = folder.check_layout() {
        found.push(bad("folder", error.to_string(), "mend `path` of [[inbox]] or [outputs] in comfytop.toml"));
    }
    if let Err(error) = refuse_network_disk(&folder.state) {
        found.push(bad("state", error.to_string(), "name a folder on a local disk with --state"));
    }
    let places = folder.inboxes.iter().map(|path| ("inbox", path)).chain([
        ("outputs", &folder.outputs),
        ("workflows", &folder.workflows),
        ("state", &folder.state),
    ]);
    for (what, path) in places {
        let shown = path.display();
        found.push(match try_writing(path) {
            Ok(true) => ok(what, format!("{shown} can be written")),
            Ok(false) => warn(what, format!("{shown} is not there yet"), "the engine makes it when it starts"),
            Err(error) => bad(what, format!("{shown}: {error}"), "give this user the right to write there"),
        });
    }
    found
}

/// Inboxes that would reject every picture.
fn profiles(patient: &Patient<'_>) -> impl Iterator<Item = Finding> {
    let advice = "mend this [[inbox]] in comfytop.toml: every picture that is dropped there would be rejected";
    let faults = profile_faults(patient.folder, &patient.config.inboxes);
    faults.into_iter().map(move |(path, why)| bad("inbox", format!("{path}: {why}"), advice))
}

/// `false`: it is not there.
fn try_writing(folder: &Path) -> io::Result<bool> {
    if !folder.try_exists()? {
        return Ok(false);
    }
    std::fs::read_dir(folder)?;
    // A dotfile: the inbox leaves it alone.
    let probe = folder.join(format!(".comfytop-doctor-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)?;
    Ok(true)
}

fn store(folder: &Folder) -> Finding {
    let path = folder.state.join("store.db");
    if !path.exists() {
        return ok("store", "none yet");
    }
    match Store::inspect(&path) {
        Ok((jobs, faults)) if faults.is_empty() => {
            // What was written last lies beside it until it is gathered in.
            let parts = [path.clone(), path.with_extension("db-wal")];
            let bytes = parts.iter().map(|part| part.metadata().map_or(0, |m| m.len())).sum();
            ok("store", format!("{jobs} jobs, {}, sound", size_words(bytes)))
        }
        Ok((_, faults)) => bad(
            "store",
            format!("damaged: {}", faults.join("; ")),
            "stop the engine, copy .comfytop/ away, and try `sqlite3 store.db .recover`",
        ),
        Err(error) => bad("store", error.to_string(), "it is left as it is; see docs/troubleshooting.md"),
    }
}

fn engine(patient: &Patient<'_>) -> Finding {
    match patient.engine {
        None => ok("engine", "none runs; `comfytop` starts one"),
        Some(engine) if engine.version != patient.version => warn(
            "engine",
            format!("comfytop {} serves the folder, this is {}", engine.version, patient.version),
            "`comfytop stop`, then start again: renders go on",
        ),
        Some(engine) => match (engine.flow.goes(), engine.flow.why()) {
            (true, _) => ok("engine", format!("serves the folder (pid {})", engine.pid)),
            (false, why) => warn(
                "engine",
                format!("{}{}", engine.flow.word(), why.map(|w| format!(": {w}")).unwrap_or_default()),
                "`comfytop resume` goes on",
            ),
        },
    }
}

fn disk(patient: &Patient<'_>) -> Vec<Finding> {
    let least = patient.config.outputs.min_free;
    let places = [("outputs", &patient.folder.outputs), ("state", &patient.folder.state)];
    let mut found = Vec::new();
    for (what, path) in places {
        // A folder that is not there yet will be on the disk of its parent.
        let there = path.ancestors().find(|p| p.exists()).unwrap_or(path);
        let Ok(Some(free)) = disk_free(there) else { continue };
        let what = format!("disk {what}");
        found.push(if free < least {
            let words = format!("{} free, min_free is {}: the queue pauses", size_words(free), size_words(least));
            bad(&what, words, "make room (`comfytop clean`), or lower `min_free` in [outputs]")
        } else if free < least.saturating_mul(5) {
            warn(&what, format!("{} free", size_words(free)), "a night of video takes several GB")
        } else {
            ok(&what, format!("{} free", size_words(free)))
        });
    }
    found
}

/// Whether a workflow of the folder names a model of 14 billion parameters; those that can't be read are found.
fn models(folder: &Folder, found: &mut Vec<Finding>) -> bool {
    let mut large = false;
    for name in folder.workflow_names().unwrap_or_default() {
        let read = folder.read_workflow(&name).map_err(|e| e.to_string());
        let parsed = read.and_then(|file| {
            large |= String::from_utf8_lossy(file.json.as_ref()).to_lowercase().contains("14b");
            match Workflow::parse(&file.name, &file.json, file.toml.as_deref()) {
                // It is read with what a server says of its nodes.
                Ok(_) | Err(WorkflowError::PageFormat) => Ok(()),
                Err(why) => Err(why.to_string()),
            }
        });
        if let Err(why) = parsed {
            found.push(bad("workflow", format!("{name}: {why}"), "mend it, or take it out of workflows/"));
        }
    }
    large
}

async fn server(config: &ServerConfig, large: bool) -> Vec<Finding> {
    let label = config.label();
    let what = format!("server {label}");
    let client = match Client::new(&config.url, &config.headers) {
        Ok(client) => client,
        Err(error) => return vec![bad(&what, error.to_string(), "mend `url` in comfytop.toml")],
    };
    let stats = match client.system_stats().await {
        Ok(stats) => stats,
        Err(error) => {
            let advice = "is ComfyUI running, on that port? On another machine it needs --listen";
            return vec![bad(&what, error.to_string(), advice)];
        }
    };
    let version = stats.comfyui_version.clone().unwrap_or_else(|| "of unknown version".to_owned());
    let device = stats.devices.first();
    let name = device.map(|d| format!(", {} with {}", d.name, size_words(d.vram_total))).unwrap_or_default();
    let mut found = vec![ok(&what, format!("ComfyUI {version}{name}"))];
    found.extend(flags(&what, &stats, large));
    found
}

/// Start-up flags that do not go with the card or the models.
fn flags(what: &str, stats: &SystemStats, large: bool) -> Vec<Finding> {
    let has = |flag: &str| stats.argv.iter().any(|arg| arg == flag || arg.starts_with(&format!("{flag}=")));
    let mut found = Vec::new();
    let Some(device) = stats.devices.first() else {
        return vec![warn(what, "it names no device", "its console says why")];
    };
    if device.is_cpu() {
        found.push(warn(what, "it renders on the CPU", "video takes hours there; is the GPU's driver installed?"));
        return found;
    }
    // A "12 GB" card has 12 GiB, or a little less.
    let small = |device: &Device, gib: u64| device.vram_total < (gib << 30) + (1 << 29);
    if large && small(device, 12) && !has("--lowvram") && !has("--novram") {
        found.push(warn(
            what,
            format!("{} for a workflow with a 14B model, without --lowvram", size_words(device.vram_total)),
            "start ComfyUI with --lowvram",
        ));
    }
    if large && small(device, 24) && (has("--highvram") || has("--gpu-only")) {
        found.push(warn(
            what,
            "--highvram or --gpu-only keeps every model in VRAM, and a 14B workflow has two",
            "start ComfyUI without it",
        ));
    }
    for (flag, words) in [
        ("--disable-smart-memory", "models are unloaded after each job, and loaded again"),
        ("--cache-none", "nothing is cached: each job loads all models again"),
    ] {
        if has(flag) {
            found.push(warn(
                what,
                format!("{flag}: {words}"),
                format!("start ComfyUI without {flag}, unless RAM is short"),
            ));
        }
    }
    if stats.ram_total > 0 && large && stats.ram_total < 30 << 30 {
        found.push(warn(
            what,
            format!("{} of RAM, and a 14B workflow swaps two models", size_words(stats.ram_total)),
            "32 GB or more keep the second model at hand",
        ));
    }
    found
}

fn ffmpeg() -> Finding {
    let run = Command::new("ffmpeg").arg("-version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match run {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let line = text.lines().next().unwrap_or_default().split(" Copyright").next().unwrap_or_default();
            ok("ffmpeg", line)
        }
        _ => warn(
            "ffmpeg",
            "not found: H.264, PNG, GIF, APNG and WebP are measured without it, others are not",
            "install it where HEVC, VP9, AV1 or ProRes are rendered",
        ),
    }
}

fn terminal() -> Finding {
    if !io::stdout().is_terminal() {
        return ok("terminal", "this output is none: not looked at");
    }
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let locale = var("LC_ALL").or_else(|| var("LC_CTYPE")).or_else(|| var("LANG")).unwrap_or_default();
    let utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
    if cfg!(unix) && !utf8 {
        return warn("terminal", format!("the locale `{locale}` is not UTF-8"), "export LANG=C.UTF-8");
    }
    let term = var("TERM").unwrap_or_default();
    if term == "dumb" {
        return bad("terminal", "TERM=dumb can't show the dashboard", "use another terminal, or the verbs");
    }
    ok("terminal", if term.is_empty() { "UTF-8".to_owned() } else { format!("{term}, UTF-8") })
}

/// Whether the engine outlives a logout.
fn logout() -> Option<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let user = std::env::var("USER").ok().filter(|u| !u.is_empty() && !u.contains('/'))?;
    if Path::new("/var/lib/systemd/linger").join(&user).exists() {
        return Some(ok("logout", "the engine goes on after a logout (linger)"));
    }
    Some(warn(
        "logout",
        "where systemd kills a user's processes at logout, the engine ends with the session",
        format!("`loginctl enable-linger {user}`; docs/troubleshooting.md has a unit"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(gib: u64, flags: &[&str]) -> SystemStats {
        let device =
            Device { name: "RTX".to_owned(), kind: "cuda".to_owned(), vram_total: gib << 30, ..Device::default() };
        SystemStats {
            comfyui_version: None,
            os: None,
            argv: flags.iter().map(ToString::to_string).collect(),
            ram_total: 64 << 30,
            ram_free: 0,
            devices: vec![device],
        }
    }

    #[test]
    fn flags_are_held_against_the_card_and_the_models() {
        let advice = |gib, flags: &[&str], large| {
            super::flags("s", &stats(gib, flags), large)
                .iter()
                .filter_map(|f| f.advice.clone())
                .collect::<Vec<_>>()
                .concat()
        };
        assert!(advice(12, &[], true).contains("--lowvram"));
        assert_eq!(advice(12, &["--lowvram"], true), "");
        assert_eq!(advice(12, &[], false), "");
        assert_eq!(advice(24, &[], true), "");
        assert!(advice(24, &["--highvram"], true).contains("without it"));
        assert!(advice(80, &["--cache-none"], true).contains("--cache-none"));
        let cpu = Device { kind: "cpu".to_owned(), ..Device::default() };
        let found = super::flags("s", &SystemStats { devices: vec![cpu], ..stats(0, &[]) }, true);
        assert!(found[0].words.contains("CPU"));
    }

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert!(try_writing(dir.path()).unwrap());
        assert!(!try_writing(&dir.path().join("none")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
