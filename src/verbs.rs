//! The verbs for scripts: each asks the engine one thing, prints the answer, and ends with a code.
//!
//! Faces: they know the protocol and the link, and nothing of store, servers or folders' insides.
//! Exit codes stand in [`Code`] and in docs/verbs.md.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a face answers by printing")]

mod control;
mod history;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::embedded;
use crate::job::{JobId, JobState, Mark};
use crate::job_file::Format;
use crate::link::{LinkError, Talk};
use crate::protocol::{Answer, Detail, JobRow, Link, Request, Status, job_json, told};
use crate::text::{clean, duration, json_text};
use crate::verdict::{Measurement, Verdict};

pub use control::{clean_up, edit, flow};
pub use history::log;

/// Exit codes of all verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// All is well.
    Ok = 0,
    /// Something asked for did not work, or is not done.
    No = 1,
    /// The command line or the config is at fault.
    Usage = 2,
    /// The time given to `wait` is over.
    TimedOut = 3,
    /// No engine, no render folder, or no server.
    Nobody = 4,
}

/// What a verb ends with.
pub type Outcome = Result<Code, LinkError>;

fn print(out: &mut dyn Write, text: std::fmt::Arguments<'_>) {
    // A closed pipe (`comfytop ls | head`) is no error of ours.
    let _ = out.write_fmt(text);
}

macro_rules! say {
    ($out:expr, $($words:tt)*) => { print($out, format_args!("{}\n", format_args!($($words)*))) };
}

fn list(talk: &mut Talk) -> Result<Vec<JobRow>, LinkError> {
    match talk.ask(Request::List)? {
        Answer::List(rows) => Ok(rows),
        _ => Err(LinkError::Closed),
    }
}

/// `comfytop ls [--json]`.
///
/// # Errors
/// When the engine can't be asked; so for all verbs here.
pub fn ls(talk: &mut Talk, json: bool, out: &mut dyn Write) -> Outcome {
    table(&list(talk)?, json, out);
    Ok(Code::Ok)
}

/// The jobs as lines for people, or as one JSON object a line.
pub fn table(rows: &[JobRow], json: bool, out: &mut dyn Write) {
    let now = Timestamp::now();
    if json {
        for row in rows {
            say!(out, "{}", json_text(&job_json(row, now).to_string()));
        }
        return;
    }
    say!(
        out,
        "{:>5}  {:<24}  {:<18}  {:<16}  {:>8}  {:>20}  {:>6}  {:>5}  verdict",
        "#",
        "name",
        "workflow",
        "state",
        "elapsed",
        "seed",
        "SSIM",
        "seam"
    );
    for row in rows {
        let seed = row.seed.map_or_else(|| "–".to_owned(), |s| s.to_string());
        // Of the mended copy where that is the better loop, as the dashboard shows it.
        let best = row.best();
        let ssim = best.and_then(|known| known.ssim).map_or_else(|| "–".to_owned(), |s| format!("{s:.3}"));
        let seam = best.and_then(Measurement::seam_words).unwrap_or_else(|| "–".to_owned());
        let unknown = if row.discarded { "discarded" } else { "–" };
        let verdict = best.and_then(|known| known.verdict).map_or(unknown, Verdict::word);
        let mended = if row.is_mended() { "→ " } else { "" };
        say!(
            out,
            "{:>5}  {}  {}  {:<16}  {:>8}  {:>20}  {:>6}  {:>5}  {mended}{verdict}",
            row.id.0,
            fit(&row.name, 24),
            fit(&row.workflow, 18),
            state(row, now),
            elapsed(row, now),
            seed,
            ssim,
            seam
        );
    }
}

/// `comfytop demo --headless`: how its jobs ended; well when all are done.
pub fn demo(rows: &[JobRow], wanted: usize, json: bool, out: &mut dyn Write) -> Code {
    table(rows, json, out);
    let done = rows.iter().filter(|r| matches!(r.state, JobState::Done)).count();
    if !json {
        let measured = rows.iter().filter(|r| r.ssim.is_some()).count();
        say!(out, "{done} of {wanted} jobs done, {measured} measured");
    }
    if done == wanted && rows.len() == wanted { Code::Ok } else { Code::No }
}

/// `text` in exactly `width` columns, wide characters counted as two.
fn fit(text: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    let text = clean(text);
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            break;
        }
        kept.push(c);
        used += wide;
    }
    if kept.len() < text.len() && kept.pop().is_some() {
        kept.push('…');
    }
    let pad = width.saturating_sub(kept.width());
    kept.extend(std::iter::repeat_n(' ', pad));
    kept
}

/// `queued 3 +2`: the place in the queue, the priority; `cancelling 1:02`, `no step 12:04`: for how long.
fn state(row: &JobRow, now: Timestamp) -> String {
    let word = match row.state {
        JobState::Done if row.is_unmet() => "done, unmet",
        JobState::Done if row.unrepaired().is_some() => "done, unrepaired",
        _ if row.stalled_since.is_some() => "no step",
        _ => row.state.word(),
    };
    let place = row.position.map(|place| format!(" {place}")).unwrap_or_default();
    let waits = row.waits_since().map(|since| format!(" {}", duration(now.duration_since(since).as_secs_f64())));
    let waiting = !row.state.is_ended() && row.started_at.is_none();
    let priority = if waiting { row.priority_words() } else { String::new() };
    format!("{word}{place}{priority}{}", waits.unwrap_or_default())
}

fn elapsed(row: &JobRow, now: Timestamp) -> String {
    let mark = if row.start_seen { "" } else { "≥" };
    row.elapsed_s(now).map_or_else(|| "–".to_owned(), |s| format!("{mark}{}", duration(s)))
}

/// `comfytop show N [--graph]`: all about one job, as JSON with `--graph`'s graph alone.
pub fn show(talk: &mut Talk, job: JobId, graph: bool, out: &mut dyn Write) -> Outcome {
    let detail = match talk.ask(Request::Show { job, graph }) {
        Ok(Answer::Detail(detail)) => detail,
        Ok(_) => return Err(LinkError::Closed),
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {why}");
            return Ok(Code::No);
        }
        Err(error) => return Err(error),
    };
    if graph {
        let Some(graph) = &detail.graph else {
            eprintln!("comfytop: {job} was never posted: it is {}", detail.row.state.word());
            return Ok(Code::No);
        };
        say!(out, "{}", json_text(&format!("{graph:#}")));
        return Ok(Code::Ok);
    }
    show_detail(&detail, out);
    Ok(Code::Ok)
}

fn show_detail(detail: &Detail, out: &mut dyn Write) {
    let row = &detail.row;
    let now = Timestamp::now();
    let mut line = |name: &str, value: &str| say!(out, "{name:<12} {}", clean(value));
    line("job", &format!("{} {}", row.id, row.name));
    line("state", &state(row, now));
    if row.priority != 0 {
        line("priority", &format!("{:+}", row.priority));
    }
    line("workflow", &row.workflow);
    if let Some(file) = &detail.file {
        line("file", file);
    }
    for (name, value) in [("server", row.server.clone()), ("seed", row.seed.map(|s| s.to_string()))] {
        if let Some(value) = value {
            line(name, &value);
        }
    }
    line("queued", &format!("{:.0}", row.queued_at));
    if let Some(tries) = &row.tries {
        let minutes = detail.minutes.map(|most| format!("; {most} minutes at most")).unwrap_or_default();
        line("tries", &format!("{}{minutes}", tries.sentence()));
    }
    if let Some(note) = &detail.note {
        line("note", note);
    }
    if !detail.tags.is_empty() {
        line("tags", &detail.tags.join(", "));
    }
    for (slot, value) in &detail.slots {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(&format!("  {slot}"), &value);
    }
    for attempt in &detail.attempts {
        let took = attempt.elapsed_s(now).map_or_else(|| "not started".to_owned(), |s| format!("{s:.1} s"));
        let value = |(slot, value): (&String, &serde_json::Value)| format!(" · {slot} {value}");
        let own = attempt.seed.map_or_else(String::new, |seed| format!(" · seed {seed}"));
        let own: String = std::iter::once(own).chain(attempt.values.iter().map(value)).collect();
        line(&format!("try {}", attempt.number), &format!("{} on {} · {took}{own}", attempt.prompt_id, attempt.server));
        match attempt.mark {
            Some(Mark::Kept) => line("  marked", "kept"),
            Some(Mark::Discarded) => line("  marked", "discarded"),
            None if row.tries.is_some() && row.state.is_ended() && attempt.number == row.attempt => {
                line("  marked", "best");
            }
            None => {}
        }
        if let Some(ending) = &attempt.ending {
            line("  ended", &ending_words(ending));
        }
        if let Some(peak) = attempt.peak_vram {
            #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
            line("  peak VRAM", &format!("{:.1} GB", peak as f64 / f64::from(1 << 30)));
        }
        for output in &attempt.outputs {
            line("  output", &format!("{} ({} bytes)", output.path, output.bytes));
        }
        if let Some(measured) = &attempt.measurement {
            let ssim = measured.ssim.map_or_else(String::new, |s| format!("SSIM {s:.6} · "));
            // A file that could not be looked at has a reason, and nothing else.
            let size = (measured.frames > 0)
                .then(|| format!("{ssim}{}x{} · {} frames", measured.width, measured.height, measured.frames));
            let words: Vec<_> = size.into_iter().chain(measured.note.clone()).collect();
            line("  measured", &words.join(" · "));
            if let Some(verdict) = verdict_words(measured) {
                line("  verdict", &verdict);
            }
            if let Some(why) = attempt.unrepaired() {
                line("  unrepaired", why);
            }
        }
        for repaired in &attempt.repaired {
            let known = &repaired.measurement;
            let note = known.note.as_ref().filter(|_| known.ssim.is_some() || known.verdict.is_some());
            let note = note.map_or_else(String::new, |note| format!(" · {note}"));
            line("  repaired", &format!("{} ({}): {}{note}", repaired.output.path, repaired.how, known.words()));
        }
        for note in &attempt.notes {
            line("  note", note);
        }
    }
    if let Some(error) = crate::protocol::error_of(row) {
        line("error", &error);
    }
    if let JobState::Failed { why } | JobState::Rejected { why } = &row.state
        && !why.detail.is_empty()
    {
        say!(out, "\n{}", crate::text::clean_lines(&why.detail));
    }
}

/// `nearly: cut the last 4 frames · seam 4.12, motion 2.94, luma -0.1, chroma 0.2`.
fn verdict_words(measured: &crate::verdict::Measurement) -> Option<String> {
    let verdict = measured.verdict?.word();
    let advice = measured.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
    let numbers = [
        ("seam", measured.seam_ratio, 2),
        ("motion", measured.motion_ratio, 2),
        ("luma", measured.luma_step, 1),
        ("chroma", measured.chroma_step, 1),
    ];
    let numbers: Vec<_> =
        numbers.iter().filter_map(|(name, number, digits)| Some(format!("{name} {:.*}", digits, (*number)?))).collect();
    Some(format!("{verdict}{advice} · {}", numbers.join(", ")))
}

fn ending_words(ending: &crate::job::Ending) -> String {
    use crate::job::{CancelledBy, Ending};
    match ending {
        Ending::Success => "well".to_owned(),
        Ending::Failed(why) => why.message.clone(),
        Ending::Cancelled(CancelledBy::You) => "cancelled".to_owned(),
        Ending::Cancelled(CancelledBy::Elsewhere) => "cancelled at the server".to_owned(),
        Ending::Lost => "the server forgot it".to_owned(),
    }
}

/// `comfytop add FILE…`.
pub fn add(talk: &mut Talk, files: &[PathBuf], no_preflight: bool, out: &mut dyn Write) -> Outcome {
    let mut code = Code::Ok;
    for file in files {
        match add_one(talk, file, no_preflight, out) {
            Ok(true) => {}
            Ok(false) => code = Code::No,
            Err(LinkError::Answer(why)) => {
                eprintln!("comfytop: {}: {why}", file.display());
                code = Code::No;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}

fn add_one(talk: &mut Talk, file: &Path, no_preflight: bool, out: &mut dyn Write) -> Result<bool, LinkError> {
    let unreadable = |e: io::Error| LinkError::Answer(e.to_string());
    let path = file.canonicalize().map_err(unreadable)?;
    let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = own.to_lowercase();
    let is_media = Format::of(&lower).is_none() && embedded::ENDINGS.iter().any(|ending| lower.ends_with(ending));
    let (name, text) = if is_media {
        // What ComfyUI made renders again, by the prompt that it carries.
        let text = carried(&path).map_err(|error| LinkError::Answer(error.to_string()))?;
        (format!("{}.json", path.file_stem().unwrap_or_default().to_string_lossy()), text)
    } else {
        let size = path.metadata().map_err(unreadable)?.len();
        if size > crate::job_file::MAX_BYTES {
            return Err(LinkError::Answer(format!("{size} bytes are too many for a job file")));
        }
        let bytes = std::fs::read(&path).map_err(unreadable)?;
        let text =
            String::from_utf8(bytes).map_err(|_| LinkError::Answer("not a text file (it is not UTF-8)".to_owned()))?;
        (own, text)
    };
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    match talk.ask(Request::Add { name, dir, text, no_preflight })? {
        Answer::Added { jobs, rejected, duplicates } => {
            for id in jobs.iter().filter(|id| rejected.iter().all(|(r, _)| r != *id)) {
                say!(out, "{}", id.0);
            }
            for (id, why) in &rejected {
                eprintln!("comfytop: {} ({id}): {}", file.display(), crate::text::clean_lines(why));
            }
            for (id, of) in &duplicates {
                let shown = file.display();
                eprintln!(
                    "comfytop: {shown} ({id}): a duplicate of {of}, not rendered; `comfytop requeue {}` does",
                    id.0
                );
            }
            Ok(rejected.is_empty())
        }
        _ => Err(LinkError::Closed),
    }
}

/// The body of a POST, from a file that ComfyUI made: its graph, and beside it the page's own.
fn carried(path: &Path) -> Result<String, embedded::EmbeddedError> {
    let found = embedded::read(&mut std::fs::File::open(path)?)?;
    let mut body = serde_json::json!({ "prompt": found.job_graph()? });
    let page = found.workflow.and_then(|page| crate::lenient::parse::<serde_json::Value>(page.as_bytes()).ok());
    if let (Some(page), Some(body)) = (page, body.as_object_mut()) {
        body.insert("extra_data".to_owned(), serde_json::json!({ "extra_pnginfo": { "workflow": page } }));
    }
    Ok(body.to_string())
}

/// These jobs, with `group` and all others of their groups.
///
/// # Errors
/// When the engine can't be asked.
pub fn with_groups(talk: &mut Talk, jobs: Vec<JobId>, group: bool) -> Result<Vec<JobId>, LinkError> {
    if !group {
        return Ok(jobs);
    }
    let rows = list(talk)?;
    let groups: Vec<JobId> = rows
        .iter()
        .filter(|row| jobs.contains(&row.id))
        .filter_map(|row| row.group.as_ref().map(|group| group.first))
        .collect();
    let is_in = |row: &JobRow| row.group.as_ref().is_some_and(|group| groups.contains(&group.first));
    let others = rows.iter().filter(|row| is_in(row) && !jobs.contains(&row.id)).map(|row| row.id);
    let others: Vec<JobId> = others.collect();
    Ok(jobs.into_iter().chain(others).collect())
}

/// `comfytop cancel N…`, `requeue N…`, `hold N…` and `release N…`.
pub fn each(talk: &mut Talk, request: Request, out: &mut dyn Write) -> Outcome {
    let Answer::Each(each) = talk.ask(request)? else { return Err(LinkError::Closed) };
    let mut code = Code::Ok;
    for (id, result) in each {
        match result {
            Ok(done) => say!(out, "{id} {done}"),
            Err(why) => {
                eprintln!("comfytop: {id}: {}", clean(&why));
                code = Code::No;
            }
        }
    }
    Ok(code)
}

/// `comfytop wait [N…|--all] [--timeout S]`.
pub fn wait(mut talk: Talk, jobs: Vec<JobId>, timeout: Option<Duration>) -> Outcome {
    let rows = list(&mut talk)?;
    let meant = || rows.iter().filter(|row| jobs.is_empty() || jobs.contains(&row.id));
    let held: Vec<_> =
        meant().filter(|row| matches!(row.state, JobState::Held)).map(|row| row.id.0.to_string()).collect();
    if !held.is_empty() {
        let held = held.join(" ");
        eprintln!("comfytop: on hold, and waited for all the same: {held}; `comfytop release {held}` lets them go");
    }
    if talk.engine.look_only {
        let idle = meant().filter(|row| row.state.is_waiting()).count();
        if idle > 0 {
            eprintln!(
                "comfytop: no engine works: {idle} of these wait until `comfytop` or `comfytop engine` starts one"
            );
        }
    }
    let (answers, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens after a time-out: the process ends then.
        let _ = answers.send(talk.ask(Request::Wait { jobs }));
    });
    let result = match timeout {
        Some(timeout) => match answer.recv_timeout(timeout) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return Ok(Code::TimedOut),
            other => other,
        },
        None => answer.recv().map_err(std::sync::mpsc::RecvTimeoutError::from),
    };
    match result.unwrap_or(Err(LinkError::Closed)) {
        Ok(Answer::List(rows)) => {
            let done = rows.iter().all(|r| matches!(r.state, JobState::Done | JobState::Duplicate { .. }));
            let missed: Vec<_> = rows.iter().filter(|r| matches!(r.state, JobState::Done)).filter_map(missed).collect();
            for words in missed.iter().chain(&rows.iter().filter_map(unrepaired).collect::<Vec<_>>()) {
                eprintln!("comfytop: {}", clean(words));
            }
            for row in rows.iter().filter(|r| !matches!(r.state, JobState::Done | JobState::Duplicate { .. })) {
                eprintln!("comfytop: {}", told(row));
            }
            Ok(if done && missed.is_empty() { Code::Ok } else { Code::No })
        }
        Ok(_) => Err(LinkError::Closed),
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {why}");
            Ok(Code::No)
        }
        Err(error) => Err(error),
    }
}

/// A job that is done, and did not become what its `until` asks for.
fn missed(row: &JobRow) -> Option<String> {
    let tries = row.tries.as_ref().filter(|tries| tries.passed == Some(false))?;
    Some(format!("{} {}: {}", row.id, row.name, tries.sentence()))
}

/// A job that is done, and of which the repair was not made that it asks for. Its gate is met all the same.
fn unrepaired(row: &JobRow) -> Option<String> {
    let why = row.unrepaired().filter(|_| matches!(row.state, JobState::Done))?;
    let met = row.tries.as_ref().filter(|tries| tries.uncut).map_or("", |_| " (`until` counts as met by that)");
    Some(format!("{} {}: the repair that it asks for was not made{met}: {why}", row.id, row.name))
}

/// `comfytop status [--json]`: exit code 4 when no server answers.
pub fn status(talk: &mut Talk, json: bool, out: &mut dyn Write) -> Outcome {
    let status = settled_status(talk)?;
    let up = status.servers.iter().any(|s| matches!(s.link, Link::Up { .. }));
    let code = if up { Code::Ok } else { Code::Nobody };
    if json {
        say!(out, "{}", json_text(&serde_json::to_string(&status).map_err(LinkError::Unreadable)?));
        return Ok(code);
    }
    let engine = &status.engine;
    let looks = if engine.look_only { ", only looking" } else { "" };
    say!(out, "engine   comfytop {} (pid {}{looks}) for {}", engine.version, engine.pid, clean(&engine.folder));
    if !engine.flow.goes() {
        say!(out, "queue    {}", clean(&engine.flow.words()));
    }
    for server in &status.servers {
        let link = match &server.link {
            Link::Connecting => "connecting".to_owned(),
            Link::Up { heard: true, .. } => "in step".to_owned(),
            Link::Up { heard: false, .. } => "asked, not heard".to_owned(),
            Link::Down { why, .. } => format!("away: {}", clean(why.lines().last().unwrap_or_default())),
        };
        let version = server.version.as_ref().map(|v| format!(" ComfyUI {}", clean(v))).unwrap_or_default();
        let flow = if server.flow.goes() { String::new() } else { format!(" · {}", clean(&server.flow.words())) };
        say!(out, "server   {}{version} · {link}{flow}", clean(&server.name));
        say!(
            out,
            "         running {} · pending {} ours, {} others",
            server.running.len(),
            server.pending_ours,
            server.pending_others
        );
        if let Some(sample) = server.samples.last() {
            let what = if server.is_cpu { "RAM " } else { "VRAM" };
            let names = server.device.iter().chain(&server.other_devices).map(|d| format!(" · {}", clean(d)));
            #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
            let gb = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            for (device, name) in sample.devices().zip(names.chain(std::iter::repeat(String::new()))) {
                say!(out, "         {what} {:.1} / {:.1} GB{name}", gb(device.vram_used), gb(device.vram_total));
            }
        }
    }
    for (job, since) in &status.stalled {
        say!(out, "!        {job}: no step for {}", duration(Timestamp::now().duration_since(*since).as_secs_f64()));
    }
    for banner in &engine.banners {
        say!(out, "!        {}", clean(banner));
    }
    Ok(code)
}

/// A new engine has not met its servers yet: give it a moment.
fn settled_status(talk: &mut Talk) -> Result<Status, LinkError> {
    let until = Instant::now() + Duration::from_secs(6);
    loop {
        let Answer::Status(status) = talk.ask(Request::Status)? else { return Err(LinkError::Closed) };
        let settled = status.servers.iter().all(|s| !matches!(s.link, Link::Connecting));
        if settled || Instant::now() > until {
            return Ok(*status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `comfytop stop`: well when the engine has ended.
pub fn stop(mut talk: Talk) -> Outcome {
    match talk.ask(Request::Stop) {
        Ok(_) | Err(LinkError::Closed) => {}
        Err(error) => return Err(error),
    }
    if talk.await_end(Duration::from_secs(10)) {
        return Ok(Code::Ok);
    }
    eprintln!("comfytop: the engine has taken back what was pending, but does not end");
    Ok(Code::No)
}
