//! The table of columns: what the job list shows, sorts by, calls its fields in JSON, and documents.
//!
//! Pure. A new column is one entry in [`COLUMNS`]; nothing else knows their number.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::canvas::{fit, fit_tail, width};
use super::figures;
use super::theme::{self, Role};
use crate::config::UiConfig;
use crate::job::{JobState, Shape};
use crate::protocol::JobRow;
use crate::text::clean;
use crate::verdict::{Measurement, Verdict};

/// What a cell is drawn from, beside its row.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub now: Timestamp,
    pub zone: &'a TimeZone,
    pub ui: &'a UiConfig,
    /// When the running job should end.
    pub ends: Option<Timestamp>,
    /// When the waiting job should start.
    pub starts: Option<Timestamp>,
    /// The row stands for a folded group of so many jobs.
    pub folded: Option<usize>,
    /// The verdict has a column of its own; else it stands beside the state.
    pub verdict_apart: bool,
}

/// A cell's text (already cut to its width where cutting needs thought) and meaning.
pub type Cell<'a> = (Cow<'a, str>, Role);

/// What a column sorts by.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(f64),
    Whole(u64),
    Text(String),
}

impl Value {
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // One column gives one kind of value.
            _ => Ordering::Equal,
        }
    }
}

/// One column of the job list.
#[derive(Debug)]
pub struct Column {
    pub title: &'static str,
    /// Its key in `comfytop ls --json`; `None`: only the screen knows it.
    pub json: Option<&'static str>,
    pub words: &'static str,
    /// On a narrow screen, at least on others, what is good for it, and at most; in cells.
    pub widths: (u16, u16, u16, u16),
    /// The higher, the sooner it goes when room is short; a narrower one behind it may still fit.
    pub rank: u8,
    pub align_right: bool,
    /// What it sorts by; `None`: not sorted by.
    pub sort: Option<fn(&JobRow) -> Option<Value>>,
    /// The first press of the sort key puts the highest on top.
    pub high_first: bool,
    /// The cell of a row, `usize` cells wide.
    pub cell: for<'a> fn(&Context<'_>, &'a JobRow, usize) -> Cell<'a>,
}

impl Column {
    /// Empty cells before it: numbers bring their own; words beside words need more.
    fn gap(&self) -> u16 {
        if self.align_right || self.json == Some("name") { 1 } else { 2 }
    }
}

/// Below this many cells only the columns up to [`NARROW_RANK`] are shown.
const NARROW: u16 = 60;
const NARROW_RANK: u8 = 2;

/// All columns, from left to right.
pub const COLUMNS: &[Column] = &[
    Column {
        title: "#",
        json: Some("id"),
        words: "the job's number, never used again",
        widths: (3, 3, 3, 3),
        rank: 3,
        align_right: true,
        sort: Some(|row| Some(Value::Whole(row.id.0))),
        high_first: false,
        cell: |_, row, _| (row.id.0.to_string().into(), Role::Plain),
    },
    Column {
        title: "name",
        json: Some("name"),
        words: "what the job file calls it; from the second attempt on, or where several are made, which try it is, and the best so far",
        widths: (14, 18, 18, 32),
        rank: 1,
        align_right: false,
        sort: Some(|row| Some(Value::Text(row.name.to_lowercase()))),
        high_first: false,
        cell: name_cell,
    },
    Column {
        title: "workflow",
        json: Some("workflow"),
        words: "the graph it fills",
        widths: (10, 10, 15, 24),
        rank: 8,
        align_right: false,
        sort: Some(|row| Some(Value::Text(row.workflow.to_lowercase()))),
        high_first: false,
        cell: |_, row, room| match clean(&row.workflow) {
            Cow::Borrowed(text) => (fit_tail(text, room), Role::Plain),
            Cow::Owned(text) => (fit_tail(&text, room).into_owned().into(), Role::Plain),
        },
    },
    Column {
        title: "state",
        json: Some("state"),
        words: "where it stands; while it runs, a bar over the whole job",
        widths: (14, 16, 16, 60),
        rank: 0,
        align_right: false,
        sort: Some(|row| Some(Value::Text(row.state.word().to_owned()))),
        high_first: false,
        cell: state_cell,
    },
    Column {
        title: "elapsed",
        json: Some("elapsed_s"),
        words: "rendering time, never queue time; `≥` where the start was not seen",
        widths: (7, 7, 7, 8),
        rank: 4,
        align_right: true,
        sort: Some(|row| match (row.started_at, row.finished_at) {
            (Some(_), Some(end)) => row.elapsed_s(end).map(Value::Number),
            _ => None,
        }),
        high_first: true,
        cell: elapsed_cell,
    },
    Column {
        title: "eta",
        json: None,
        words: "running: time left; waiting: about when it starts; empty where nobody can know",
        widths: (6, 6, 6, 8),
        rank: 5,
        align_right: true,
        sort: None,
        high_first: false,
        cell: eta_cell,
    },
    Column {
        title: "seed",
        json: Some("seed"),
        words: "as the job file gives it, or as it was drawn",
        widths: (8, 8, 8, 20),
        rank: 7,
        align_right: true,
        sort: Some(|row| row.seed.map(Value::Whole)),
        high_first: false,
        cell: |_, row, room| {
            (row.seed.map_or(Cow::Borrowed(""), |s| fit(&s.to_string(), room).into_owned().into()), Role::Plain)
        },
    },
    Column {
        title: "size",
        json: None,
        words: "width x height, and frames where there is room, as the workflow tells",
        widths: (9, 13, 13, 13),
        rank: 9,
        align_right: true,
        sort: Some(|row| {
            let Shape { width, height, length, .. } = row.shape;
            Some(Value::Whole(u64::from(width?) * u64::from(height?) * u64::from(length.unwrap_or(1))))
        }),
        high_first: true,
        cell: |_, row, room| {
            let whole = shape(row.shape);
            let bare = || shape(Shape { length: None, ..row.shape });
            (if width(&whole) > room { bare() } else { whole }.into(), Role::Plain)
        },
    },
    Column {
        title: "SSIM",
        json: Some("ssim"),
        words: "how alike the first and the last frame are (dim: of the best try so far): red up to 0.612, green from 0.85 (config `[ui]`)",
        widths: (5, 5, 6, 7),
        rank: 2,
        align_right: true,
        sort: Some(|row| row.best().map_or(row.ssim, |best| best.ssim).map(Value::Number)),
        high_first: true,
        cell: ssim_cell,
    },
    Column {
        title: "seam",
        json: Some("motion_ratio"),
        words: "how far last to first goes, in ordinary steps; 1.00 is one like any other ([verdict](verdict.md))",
        widths: (5, 5, 5, 6),
        rank: 6,
        align_right: true,
        sort: Some(|row| row.best()?.seam().map(|seam| Value::Number((seam - 1.0).abs()))),
        high_first: false,
        cell: |_, row, _| {
            let seam = row.best().and_then(Measurement::seam_words);
            (seam.map_or(Cow::Borrowed(""), Cow::Owned), Role::Plain)
        },
    },
    Column {
        title: "verdict",
        json: Some("verdict"),
        words: "`loops`, `nearly` (after a cut), `pulses` (a step of light), `jumps`, `still`, `n/a`; `→ loops`: a mended copy does, and SSIM and seam are its",
        widths: (7, 7, 7, 9),
        rank: 10,
        align_right: false,
        sort: Some(|row| row.best()?.verdict.map(|verdict| Value::Whole(verdict as u64))),
        high_first: false,
        cell: verdict_cell,
    },
];

/// A column's place on the screen: its entry, x from the left of the row, cells.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    pub column: &'static Column,
    /// Index in [`COLUMNS`].
    pub index: usize,
    pub x: u16,
    pub width: u16,
}

/// Which columns fit into `room` cells of a screen `screen` cells wide, and where. `id_digits`: of the highest number.
pub fn place(room: u16, screen: u16, id_digits: u16) -> Vec<Placed> {
    let id_digits = id_digits.max(3);
    let bounds =
        |c: &Column| if c.json == Some("id") { (id_digits, id_digits, id_digits, id_digits) } else { c.widths };
    let mut ranked: Vec<usize> = (0..COLUMNS.len()).collect();
    ranked.sort_by_key(|i| COLUMNS[*i].rank);

    let mut widths = [None::<u16>; COLUMNS.len()];
    // The first column has no gap before it.
    let mut left = room + COLUMNS.first().map_or(0, Column::gap);
    for &i in &ranked {
        let (narrowest, least, ..) = bounds(&COLUMNS[i]);
        let is_narrow = screen < NARROW;
        let least = if is_narrow { narrowest } else { least };
        let gap = COLUMNS[i].gap();
        if (is_narrow && COLUMNS[i].rank > NARROW_RANK) || left < least + gap {
            continue;
        }
        widths[i] = Some(least);
        left -= least + gap;
    }
    if let Some(first) = widths.iter().position(Option::is_some) {
        left = (left + COLUMNS[first].gap()).saturating_sub(COLUMNS.first().map_or(0, Column::gap));
    }
    // First each to what is good for it, then from the left to what it can use: a name before a longer bar.
    let good = ranked.iter().map(|&i| (i, bounds(&COLUMNS[i]).2));
    let most = (0..COLUMNS.len()).map(|i| (i, bounds(&COLUMNS[i]).3));
    for (i, goal) in good.chain(most) {
        if let Some(now) = widths[i].as_mut() {
            let grow = goal.saturating_sub(*now).min(left);
            *now += grow;
            left -= grow;
        }
    }
    let mut x = 0;
    let mut placed = Vec::with_capacity(COLUMNS.len());
    for (index, column) in COLUMNS.iter().enumerate() {
        if let Some(width) = widths[index] {
            if !placed.is_empty() {
                x += column.gap();
            }
            placed.push(Placed { column, index, x, width });
            x += width;
        }
    }
    placed
}

/// `480x848 129`: picture size and frames.
pub fn shape(shape: Shape) -> String {
    match shape {
        Shape { width: Some(w), height: Some(h), length: Some(n), .. } => format!("{w}x{h} {n:>3}"),
        Shape { width: Some(w), height: Some(h), .. } => format!("{w}x{h}"),
        Shape { length: Some(n), .. } => format!("{n}"),
        _ => String::new(),
    }
}

fn name_cell<'a>(context: &Context<'_>, row: &'a JobRow, room: usize) -> Cell<'a> {
    let name = clean(&row.name);
    // What tells it from the others of its group; folded, how many they are.
    let tail = match (context.folded, &row.group) {
        (Some(jobs), _) => format!("▸{jobs}"),
        (None, _) if row.tries.is_some() => tries_words(row, room),
        (None, _) if row.attempt >= 2 => format!("try {}", row.attempt),
        (None, Some(group)) => clean(&group.label()).into_owned(),
        (None, None) => String::new(),
    };
    if tail.is_empty() || room < 12 {
        return (name, Role::Plain);
    }
    // The name itself keeps at least half, but for what is counted on.
    let tail = if row.tries.is_some() { tail } else { fit(&tail, room / 2).into_owned() };
    let left = room.saturating_sub(width(&tail) + 1);
    let name = fit(&name, left);
    let pad = " ".repeat(left - width(&name).min(left) + 1);
    (format!("{name}{pad}{tail}").into(), Role::Plain)
}

/// Cells of a name column that has room for `try 3/8, best 0.81` beside a name.
const NAME_WITH_BEST: usize = 8 + 1 + 18;

/// `best 0.81`, from which cell on, and in how many: where the name has no room for it, it stands in place of the numbers that
/// a job has none of while it is tried.
pub fn best_so_far(row: &JobRow, placed: &[Placed]) -> Option<(u16, u16, String)> {
    let at = |key: &str| placed.iter().find(|p| p.column.json == Some(key));
    let (name, from, to) = (at("name")?, at("ssim")?, at("motion_ratio")?);
    if row.state.is_ended() || row.best().is_some() || usize::from(name.width) >= NAME_WITH_BEST {
        return None;
    }
    let best = row.tries.as_ref()?.best_words()?;
    let wide = to.x + to.width - from.x;
    (width(&best) <= usize::from(wide)).then_some((from.x, wide, best))
}

/// `try 3/8, best 0.81`; without the best where the column has no room for it.
fn tries_words(row: &JobRow, room: usize) -> String {
    let Some(tries) = &row.tries else { return String::new() };
    let short = format!("try {}/{}", tries.number, tries.of);
    if row.state.is_ended() {
        return if tries.gate.is_empty() { format!("best of {}", tries.number) } else { short };
    }
    if room >= NAME_WITH_BEST { tries.words() } else { short }
}

fn state_cell<'a>(context: &Context<'_>, row: &'a JobRow, room: usize) -> Cell<'a> {
    let (sign, role) = theme::sign(&row.state);
    let fraction = row.progress.as_ref().and_then(|p| p.fraction);
    if row.trouble.is_some() {
        return (format!("{sign} held up").into(), Role::Nearly);
    }
    let words: Cow<'_, str> = match &row.state {
        JobState::Running if row.stalled_since.is_some() => {
            let since = row.stalled_since.unwrap_or(context.now);
            let seconds = context.now.duration_since(since).as_secs_f64();
            return (format!("{sign} no step {}", figures::duration(seconds)).into(), Role::Nearly);
        }
        JobState::Cancelling { since } => {
            let for_long = figures::duration(context.now.duration_since(*since).as_secs_f64());
            let whole = format!("cancelling {for_long}");
            if width(&whole) + 2 <= room { whole } else { format!("cancel… {for_long}") }.into()
        }
        JobState::Running => {
            if let Some(fraction) = fraction {
                let wide = room.saturating_sub(7).min(24);
                return (format!("▕{}▏{:>3} %", figures::bar(fraction, wide), figures::percent(fraction)).into(), role);
            }
            "running".into()
        }
        JobState::Pending => row.position.map_or("pending".into(), |n| format!("pending #{n}").into()),
        JobState::Failed { why } => told(theme::failure(why.kind), &why.message, room),
        JobState::Rejected { why } => {
            let reason = clean(&why.message);
            let reason = reason_first(&reason);
            // The sign says what it is; the reason is what helps.
            if room < 24 { reason.into_owned().into() } else { told("rejected", &reason, room) }
        }
        JobState::Duplicate { of } => format!("duplicate {of}").into(),
        JobState::Waiting { after } => match after.first() {
            Some(first) => format!("after {first}").into(),
            None => "waiting".into(),
        },
        JobState::Done => {
            if row.discarded {
                return (format!("{sign} discarded").into(), Role::Quiet);
            }
            let verdict = verdict_words(row).filter(|_| !context.verdict_apart);
            // Its gate was not met.
            let word = if row.is_unmet() { "unmet" } else { "done" };
            if row.unrepaired().is_some() && !row.is_unmet() {
                return (format!("{sign} unrepaired").into(), Role::Nearly);
            }
            if let Some((words, verdict)) = verdict.filter(|(_, verdict)| *verdict != Verdict::Unknown) {
                let between = if row.is_mended() { "" } else { "· " };
                return (format!("{sign} {word} {between}{words}").into(), theme::verdict(verdict));
            }
            if word == "unmet" {
                return (format!("{sign} done, unmet").into(), Role::Nearly);
            }
            "done".into()
        }
        other => other.word().into(),
    };
    let waits = row.state.is_waiting() || row.state.is_pending();
    let priority = if waits { row.priority_words() } else { String::new() };
    (format!("{sign} {words}{priority}").into(), role)
}

/// A short word, and the longer one behind it where there is room for some of it.
fn told<'a>(short: &'a str, long: &str, room: usize) -> Cow<'a, str> {
    let long = clean(long);
    if room < short.len() + 14 || long.is_empty() { short.into() } else { format!("{short}: {long}").into() }
}

/// `line 3, column 5: no slot …` with the place behind: a row has room for the reason only.
fn reason_first(message: &str) -> Cow<'_, str> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parted = message.split_once(": ").and_then(|(place, reason)| {
        let (line, column) = place.strip_prefix("line ")?.split_once(", column ")?;
        (number(line) && number(column)).then(|| format!("{reason} ({place})"))
    });
    parted.map_or(Cow::Borrowed(message), Cow::Owned)
}

fn elapsed_cell<'a>(context: &Context<'_>, row: &'a JobRow, _: usize) -> Cell<'a> {
    let Some(seconds) = row.elapsed_s(context.now) else {
        return if row.state.is_ended() { ("".into(), Role::Plain) } else { ("–".into(), Role::Quiet) };
    };
    let text = figures::duration(seconds);
    (if row.start_seen { text.into() } else { format!("≥{text}").into() }, Role::Plain)
}

fn eta_cell<'a>(context: &Context<'_>, row: &'a JobRow, _: usize) -> Cell<'a> {
    let text = match (&row.state, context.ends, context.starts) {
        (JobState::Running, Some(ends), _) => {
            let left = ends.duration_since(context.now).as_secs_f64();
            if left < 0.0 { String::new() } else { figures::duration(left) }
        }
        (_, _, Some(starts)) => figures::about(starts, context.now, context.zone),
        _ => String::new(),
    };
    (text.into(), if matches!(row.state, JobState::Running) { Role::Plain } else { Role::Waiting })
}

fn ssim_cell<'a>(context: &Context<'_>, row: &'a JobRow, _: usize) -> Cell<'a> {
    match (row.best().map_or(row.ssim, |best| best.ssim), &row.measure_note) {
        // Of the best try so far.
        (None, _) if !row.state.is_ended() => match row.tries.as_ref().and_then(|tries| tries.best_ssim) {
            Some(best) => (format!("{best:.3}").into(), Role::Quiet),
            None => ("".into(), Role::Plain),
        },
        (Some(ssim), _) => (format!("{ssim:.3}").into(), theme::loop_quality(ssim, context.ui)),
        (None, Some(_)) if matches!(row.state, JobState::Done) && !row.discarded => ("n/a".into(), Role::Quiet),
        _ => ("".into(), Role::Plain),
    }
}

fn verdict_cell<'a>(_: &Context<'_>, row: &'a JobRow, _: usize) -> Cell<'a> {
    verdict_words(row).map_or(("".into(), Role::Plain), |(words, verdict)| (words, theme::verdict(verdict)))
}

/// Of what counts; `→ loops` where that is a mended copy.
fn verdict_words(row: &JobRow) -> Option<(Cow<'static, str>, Verdict)> {
    let verdict = row.best()?.verdict?;
    let word = verdict.word();
    Some((if row.is_mended() { format!("→ {word}").into() } else { word.into() }, verdict))
}

/// The table of columns for the documentation, in Markdown.
pub fn markdown() -> String {
    let mut out = "| column | in JSON | what it shows |\n|---|---|---|\n".to_owned();
    for column in COLUMNS {
        let json = column.json.map_or_else(|| "–".to_owned(), |key| format!("`{key}`"));
        out.extend(["| ", column.title, " | ", &json, " | ", column.words, " |\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_never_overlap_nor_leave_the_row() {
        for room in 0..260 {
            let placed = place(room, room + 4, 5);
            let mut end = 0;
            for p in &placed {
                assert!(p.x >= end, "{room}: {} at {}", p.column.title, p.x);
                end = p.x + p.width;
            }
            assert!(end <= room, "{room}: ends at {end}");
        }
    }

    #[test]
    fn a_rejected_row_begins_with_the_reason() {
        assert_eq!(reason_first("line 3, column 5: no slot `a`: x"), "no slot `a`: x (line 3, column 5)");
        for other in ["line by line: a", "line 3: a", "the file is empty", "line x, column 1: a"] {
            assert_eq!(reason_first(other), other);
        }
    }

    #[test]
    fn narrow_screens_keep_name_state_and_ssim() {
        let titles = |room, screen| place(room, screen, 3).iter().map(|p| p.column.title).collect::<Vec<_>>();
        assert_eq!(titles(48, 50), ["name", "state", "SSIM"]);
        assert_eq!(titles(78, 80), ["#", "name", "state", "elapsed", "eta", "seed", "SSIM", "seam"]);
        // The list at 120 columns, beside the server: the verdict stands beside the state; all of them need a wider one.
        let beside = ["#", "name", "workflow", "state", "elapsed", "eta", "seed", "SSIM", "seam"];
        assert_eq!(titles(89, 120), beside);
        assert_eq!(place(89, 120, 4).len(), beside.len(), "and with a thousand jobs");
        assert_eq!(titles(140, 200).len(), COLUMNS.len());
    }
}
