//! All about the selected job: how far it is or why it failed, its outputs, times, slots, attempts.
//!
//! What the row tells is there at once; the rest follows when the engine has answered.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;
use serde_json::Value;

use super::curves;
use crate::job::{Attempt, Ending, Failure, JobState, Mark, Reason, Repaired};
use crate::protocol::{Detail, JobRow, Look, Progress, Tries};
use crate::text::{clean, clean_lines};
use crate::tui::app::App;
use crate::tui::canvas;
use crate::tui::figures;
use crate::tui::layout::{Areas, Pane};
use crate::tui::list::Entry;
use crate::tui::paint::Hyperlink;
use crate::tui::theme::{self, Role};
use crate::verdict::Measurement;

/// Cells of the labels.
const LABEL: usize = 10;

/// Where the page goes: without boxes the title takes a line of the pane's own.
fn below_title(areas: &Areas) -> Rect {
    let area = areas.detail;
    if !areas.main_box.is_empty() {
        return area;
    }
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

pub fn detail(app: &App, buf: &mut Buffer, areas: &Areas) {
    let boxed = !areas.main_box.is_empty();
    let area = below_title(areas);
    let line = if boxed {
        Rect { y: areas.main_divider.unwrap_or(areas.main_box.y), height: 1, ..areas.main_box }
    } else {
        let beside = Rect { y: areas.pictures.y, ..areas.detail }.union(areas.pictures).width;
        let width = if areas.pictures.is_empty() { area.width } else { beside };
        Rect { x: area.x.saturating_sub(2), y: area.y - 1, width, ..area }
    };
    let Some(entry) = app.jobs.selected() else {
        super::title(app, buf, line, "no job", Pane::Detail);
        return;
    };
    let words = format!("{} {}", entry.row.id, clean(&entry.row.name));
    let x = super::title(app, buf, line, &words, Pane::Detail);
    let (sign, role) = theme::sign(&entry.row.state);
    let state = format!(" {sign} {} ", super::jobs::state_words(&entry.row));
    let wide = canvas::cells(&state);
    if x + wide + 3 < line.right() {
        canvas::text(buf, line.right() - wide - 2, line.y, wide, &state, app.live_theme().style(role));
    }
    let pad = padded(area, boxed);
    let lines = lines(app, entry, pad.width);
    for (y, line) in (pad.y..pad.bottom()).zip(lines.iter().skip(app.detail_scroll)) {
        canvas::spans(buf, pad.x, y, pad.width, line);
    }
    let below = lines.len().saturating_sub(app.detail_scroll + usize::from(pad.height));
    if below > 0 && pad.height > 0 {
        let words = format!(" {below} more ↓ ");
        canvas::right(buf, pad.x, pad.bottom() - 1, pad.width, &words, app.theme().style(Role::Quiet));
    }
}

fn padded(area: Rect, boxed: bool) -> Rect {
    if boxed { Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area } } else { area }
}

/// How far the details can be scrolled, and how many lines they show.
pub fn overflow(app: &App) -> (usize, usize) {
    let areas = app.areas();
    let boxed = !areas.main_box.is_empty();
    let shown = usize::from(areas.detail.height.saturating_sub(u16::from(!boxed)));
    let total = app.jobs.selected().map_or(0, |e| lines(app, e, padded(areas.detail, boxed).width).len());
    (total.saturating_sub(shown), shown)
}

/// The selected job in one line.
pub fn line(app: &App, buf: &mut Buffer, area: Rect) {
    let Some(entry) = app.jobs.selected() else { return };
    let theme = app.live_theme();
    let row = &entry.row;
    let mut out = vec![Span::styled(format!("{} ", row.id), theme.style(Role::Strong))];
    match &row.state {
        _ if row.trouble.is_some() => {
            let trouble = row.trouble.as_deref().unwrap_or_default();
            out.push(Span::styled(clean(trouble).into_owned(), theme.style(Role::Nearly)));
        }
        JobState::Running => out.extend(row.progress.as_ref().map(|p| now_words(app, p)).unwrap_or_default()),
        JobState::Failed { why } | JobState::Rejected { why } => {
            out.push(Span::styled(failure_words(why), theme.style(Role::Bad)));
        }
        _ => {
            let words = row.outputs.first().map_or_else(|| super::jobs::state_words(row), |o| o.path.clone());
            out.push(Span::raw(words));
        }
    }
    let mut facts = Vec::new();
    facts.extend(row.tries.as_ref().map(Tries::words));
    if let Some(detail) = app.selected_detail()
        && let Some((_, value)) = detail.slots.iter().find(|(name, _)| name == "image")
    {
        facts.push(plain(value));
    }
    facts.extend(row.seed.map(|s| format!("seed {s}")));
    facts.extend(row.measure_note.clone());
    for fact in facts {
        out.push(Span::styled(" · ", theme.style(Role::Quiet)));
        out.push(Span::styled(fact, theme.style(Role::Quiet)));
    }
    canvas::spans(buf, area.x, area.y, area.width, &out);
}

fn failure_words(why: &Failure) -> String {
    let node = why.node.as_ref().map_or_else(String::new, |n| format!("{}: ", clean(n)));
    format!("{node}{}", clean(&why.message))
}

/// `low noise sampler (14)  step 1/2`.
fn now_words(app: &App, progress: &Progress) -> Vec<Span<'static>> {
    let theme = app.live_theme();
    let mut out = Vec::new();
    if let Some(node) = &progress.node {
        out.push(Span::styled(clean(node).into_owned(), theme.style(Role::Running)));
    }
    if let Some((step, of)) = progress.step {
        out.push(Span::raw(format!("  step {step}/{of}")));
    }
    out
}

/// Labelled lines, wrapped to `width` cells.
struct Page<'a> {
    app: &'a App,
    width: usize,
    lines: Vec<Vec<Span<'static>>>,
    /// Which line shows which output.
    outputs: Vec<(usize, String)>,
}

impl Page<'_> {
    fn label(&self, label: &str) -> Span<'static> {
        Span::styled(format!("{label:<LABEL$}"), self.app.theme().style(Role::Quiet))
    }

    fn row(&mut self, label: &str, spans: Vec<Span<'static>>) {
        let mut line = vec![self.label(label)];
        line.extend(spans);
        self.lines.push(line);
    }

    /// Text of any length; `role` as it is meant.
    fn text(&mut self, label: &str, text: &str, role: Role) {
        let style = self.app.live_theme().style(role);
        let room = self.width.saturating_sub(LABEL).max(8);
        for (i, line) in canvas::wrap(text, room).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            self.row(label, vec![Span::styled(line, style)]);
        }
    }

    /// Short facts side by side; one goes to the next line as a whole where it fits there.
    fn parts(&mut self, label: &str, parts: &[String], role: Role) {
        let room = self.width.saturating_sub(LABEL).max(8);
        let mut lines: Vec<String> = Vec::new();
        for part in parts {
            let wide = canvas::width(part);
            match lines.last_mut() {
                Some(line) if wide > room || canvas::width(line) + 3 + wide <= room => {
                    line.push_str(" · ");
                    line.push_str(part);
                }
                _ => lines.push(part.clone()),
            }
        }
        for (n, line) in lines.iter().enumerate() {
            self.text(if n == 0 { label } else { "" }, line, role);
        }
    }

    /// Lines that must stay as they are: an excerpt with a caret, a traceback.
    fn verbatim(&mut self, text: &str) {
        let style = self.app.live_theme().style(Role::Plain);
        for line in clean_lines(text).lines() {
            self.row("", vec![Span::styled(line.to_owned(), style)]);
        }
    }
}

fn lines(app: &App, entry: &Entry, width: u16) -> Vec<Vec<Span<'static>>> {
    page(app, entry, width).lines
}

fn page<'a>(app: &'a App, entry: &Entry, width: u16) -> Page<'a> {
    let row = &entry.row;
    let detail = app.selected_detail();
    let mut page = Page { app, width: usize::from(width), lines: Vec::new(), outputs: Vec::new() };
    match &row.state {
        JobState::Failed { why } | JobState::Rejected { why } => failure(&mut page, why),
        JobState::Running | JobState::Cancelling { .. } => progress(&mut page, entry),
        JobState::Duplicate { of } => page.text(
            "why",
            &format!("the same as {of}, which was not rendered again; r renders it all the same"),
            Role::Plain,
        ),
        JobState::Waiting { after } => {
            let after: Vec<_> = after.iter().map(ToString::to_string).collect();
            page.text("waits for", &after.join(" "), Role::Plain);
        }
        _ => {}
    }
    if let Some(trouble) = &row.trouble {
        page.text("held up", &clean(trouble), Role::Nearly);
    }
    if row.priority != 0 && !row.state.is_ended() {
        let first = if row.priority > 0 { "goes before" } else { "goes after" };
        page.text("priority", &format!("{:+}; it {first} those without", row.priority), Role::Plain);
    }
    if let Some(tries) = &row.tries {
        let is_short = tries.uncut || tries.passed == Some(false) && row.state.is_ended();
        let role = if is_short { Role::Nearly } else { Role::Plain };
        let minutes = detail.and_then(|detail| detail.minutes).map(|most| format!("; {most} minutes at most"));
        page.text("tries", &clean(&format!("{}{}", tries.sentence(), minutes.unwrap_or_default())), role);
    }
    outputs(&mut page, row);
    times(&mut page, entry);
    if let Some(detail) = detail {
        if !row.state.is_waiting() {
            looks(&mut page, &detail.looks, &row.repaired);
        }
        slots(&mut page, detail);
        attempts(&mut page, detail);
        let mut from = Vec::new();
        from.extend(detail.file.clone());
        if !detail.tags.is_empty() {
            from.push(format!("tags {}", detail.tags.join(" ")));
        }
        if !from.is_empty() {
            page.text("file", &clean(&from.join(" · ")), Role::Quiet);
        }
        if let Some(note) = &detail.note {
            page.text("note", &clean(note), Role::Plain);
        }
        if let Some(attempt) = detail.attempts.last() {
            page.text("prompt id", &clean(&attempt.prompt_id), Role::Quiet);
        }
    }
    page
}

/// The outputs' paths on the screen, as links to files of `host`.
pub fn links(app: &App, host: &str) -> Vec<Hyperlink> {
    let areas = app.areas();
    // The page is not built once more, while it renders, only to find nothing in it.
    let has_some = |entry: &&Entry| !areas.detail.is_empty() && !entry.row.outputs.is_empty();
    let Some(entry) = app.jobs.selected().filter(has_some) else {
        return Vec::new();
    };
    let pad = padded(below_title(&areas), !areas.main_box.is_empty());
    let page = page(app, entry, pad.width);
    let shown = |(line, path): &(usize, String)| {
        let row = u16::try_from(line.checked_sub(app.detail_scroll)?).ok().filter(|row| *row < pad.height)?;
        // The words that say how much is below stand on the last line.
        let below = page.lines.len() > app.detail_scroll + usize::from(pad.height);
        if below && row + 1 == pad.height {
            return None;
        }
        let wide = page.lines.get(*line)?.get(1).map_or(0, |span| canvas::cells(&span.content));
        let label = u16::try_from(LABEL).unwrap_or(0);
        let area = Rect { x: pad.x + label, y: pad.y + row, width: wide, height: 1 }.intersection(pad);
        Some(Hyperlink { area, url: file_url(host, &app.whole_path(path)) })
    };
    page.outputs.iter().filter_map(shown).collect()
}

/// `file://host/path`, all that is not plain in percents.
fn file_url(host: &str, path: &str) -> String {
    use std::fmt::Write as _;
    let path = path.replace('\\', "/");
    let mut url = format!("file://{host}{}", if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~:".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

fn failure(page: &mut Page<'_>, why: &Failure) {
    page.text("error", &failure_words(why), Role::Bad);
    page.verbatim(&why.detail);
}

fn progress(page: &mut Page<'_>, entry: &Entry) {
    let app = page.app;
    let theme = app.live_theme();
    if let JobState::Cancelling { since } = entry.row.state {
        let waited = app.known_at().duration_since(since).as_secs_f64();
        page.text(
            "cancel",
            &format!("asked {} ago; the server has not agreed yet", figures::duration(waited)),
            Role::Nearly,
        );
    }
    if let Some(since) = entry.row.stalled_since {
        let silent = app.known_at().duration_since(since).as_secs_f64();
        page.text("watchdog", &format!("no step for {}; c cancels it", figures::duration(silent)), Role::Nearly);
    }
    let Some(progress) = &entry.row.progress else { return };
    let now = now_words(app, progress);
    if !now.is_empty() {
        page.row("now", now);
    }
    if progress.nodes.is_empty() {
        return;
    }
    let room = page.width.saturating_sub(LABEL);
    let mut line: Vec<Span<'static>> = Vec::new();
    let mut label = "nodes";
    for node in &progress.nodes {
        let mut words = vec![Span::raw(format!("{} ", clean(&node.title)))];
        let (time, role) = if node.finished {
            (figures::duration(node.seconds), Role::Quiet)
        } else {
            (format!("{} …", figures::duration(node.seconds)), Role::Running)
        };
        words.push(Span::styled(time, theme.style(role)));
        let wide = usize::from(canvas::spans_width(&line) + canvas::spans_width(&words)) + 3;
        if !line.is_empty() && wide > room {
            page.row(label, std::mem::take(&mut line));
            label = "";
        }
        if !line.is_empty() {
            line.push(Span::styled(" · ", theme.style(Role::Quiet)));
        }
        line.extend(words);
    }
    page.row(label, line);
}

fn outputs(page: &mut Page<'_>, row: &JobRow) {
    let theme = page.app.live_theme();
    for (i, output) in row.outputs.iter().enumerate() {
        let size = figures::size(output.bytes);
        let room = page.width.saturating_sub(LABEL + size.len() + 2);
        let path = canvas::fit_tail(&clean(&output.path), room).into_owned();
        let spans = vec![Span::raw(path), Span::styled(format!("  {size}"), theme.style(Role::Quiet))];
        page.outputs.push((page.lines.len(), output.path.clone()));
        page.row(if i == 0 { "output" } else { "" }, spans);
    }
    for repaired in &row.repaired {
        let known = &repaired.measurement;
        let words = clean(&format!("{}, {}", repaired.how, known.words())).into_owned();
        let room = page.width.saturating_sub(LABEL + 2 + canvas::width(&words));
        let path = canvas::fit_tail(&clean(&repaired.output.path), room).into_owned();
        let role = known.verdict.map_or(Role::Quiet, theme::verdict);
        page.row("repaired", vec![Span::raw(path + "  "), Span::styled(words, theme.style(role))]);
    }
    let ui = &page.app.setup.ui;
    match (row.ssim, &row.measure_note) {
        _ if row.discarded => page.text("verdict", crate::protocol::DISCARDED, Role::Quiet),
        (Some(ssim), note) => {
            let mut spans = vec![
                Span::styled(format!("{ssim:.3}"), theme.style(theme::loop_quality(ssim, ui))),
                Span::styled("  first against last frame", theme.style(Role::Quiet)),
            ];
            if let Some(note) = note {
                spans.push(Span::styled(format!(" · {}", clean(note)), theme.style(Role::Quiet)));
            }
            page.row("SSIM", spans);
        }
        (None, Some(note)) => page.text("SSIM", &format!("n/a ({})", clean(note)), Role::Quiet),
        (None, None) => {}
    }
    if let Some(known) = &row.measured {
        verdict(page, known);
    }
    if let Some(why) = row.unrepaired() {
        page.text("repair", &clean(&format!("not made: {why}")), Role::Nearly);
    }
}

/// The verdict in words, and the numbers behind it.
fn verdict(page: &mut Page<'_>, known: &Measurement) {
    let Some(verdict) = known.verdict else { return };
    let theme = page.app.live_theme();
    let mut words = vec![Span::styled(verdict.word(), theme.style(theme::verdict(verdict)))];
    if let Some(advice) = &known.advice {
        words.push(Span::raw(format!(": {}", clean(advice))));
    }
    page.row("verdict", words);
    let mut numbers = Vec::new();
    numbers.extend(known.seam_ratio.map(|ratio| format!("difference {ratio:.2} steps")));
    numbers.extend(known.motion_ratio.map(|ratio| format!("motion {ratio:.2} steps")));
    numbers.extend(known.luma_step.map(|step| format!("light {step:+.1}")));
    numbers.extend(known.chroma_step.map(|step| format!("colour {step:.1}")));
    page.parts("seam", &numbers, Role::Quiet);
}

/// The curves of the main output, and what is said of the others.
fn looks(page: &mut Page<'_>, looks: &[Look], repaired: &[Repaired]) {
    let theme = page.app.live_theme();
    if let Some(main) = looks.first() {
        let room = page.width.saturating_sub(LABEL);
        for (n, line) in curves::lines(main, room, theme).into_iter().enumerate() {
            page.row(if n == 0 { "curves" } else { "" }, line);
        }
    }
    // The copies stand above with how they were made.
    let is_copy = |look: &&Look| repaired.iter().any(|copy| copy.output.path == look.path);
    for other in looks.iter().skip(1).filter(|look| !is_copy(look)) {
        let known = &other.measurement;
        let mut parts = vec![clean(&other.path).into_owned()];
        parts.extend(known.ssim.map(|ssim| format!("SSIM {ssim:.3}")));
        parts.extend(known.verdict.map(|verdict| verdict.word().to_owned()));
        parts.extend([&known.advice, &known.note].into_iter().flatten().map(|words| clean(words).into_owned()));
        page.parts("beside", &parts, Role::Quiet);
    }
}

fn times(page: &mut Page<'_>, entry: &Entry) {
    let app = page.app;
    let row = &entry.row;
    let zone = &app.setup.zone;
    let moment = |at| figures::moment(at, app.now, zone);
    let mut parts = vec![format!("queued {}", moment(row.queued_at))];
    if let Some(at) = row.started_at {
        parts.push(format!("started {}{}", if row.start_seen { "" } else { "before " }, moment(at)));
    }
    if let Some(at) = row.finished_at {
        parts.push(format!("ended {}", moment(at)));
    }
    if let Some(seconds) = row.elapsed_s(app.known_at()) {
        let least = if row.start_seen { "" } else { "≥" };
        let words = if row.finished_at.is_some() { "took" } else { "elapsed" };
        parts.push(format!("{words} {least}{}", figures::duration(seconds)));
    }
    if let Some(left) = app.ends(entry).filter(|_| matches!(row.state, JobState::Running)) {
        let left = left.duration_since(app.known_at()).as_secs_f64();
        if left >= 0.0 {
            parts.push(format!("{} left", figures::duration(left)));
        }
    }
    if let Some(starts) = app.forecast.starts(row.id) {
        parts.push(format!("starts {}", figures::about(starts, app.now, zone)));
    }
    if let Some(peak) = row.peak_vram {
        parts.push(format!("peak {} GB", figures::gigabytes(peak)));
    }
    page.parts("times", &parts, Role::Plain);
}

/// Short values share a line, long ones have their own.
fn slots(page: &mut Page<'_>, detail: &Detail) {
    const SHORT: usize = 36;
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for (name, value) in &detail.slots {
        let text = plain(value);
        if canvas::width(&text) <= SHORT && !text.contains('\n') {
            short.push(format!("{} {text}", clean(name)));
        } else {
            long.push((name, text));
        }
    }
    if !short.is_empty() {
        page.parts("slots", &short, Role::Plain);
    }
    for (name, text) in long {
        let name = canvas::fit(&clean(name), LABEL - 1).into_owned();
        page.text(&name, &clean(&text), Role::Plain);
    }
}

/// A value as people write it: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text).into_owned(),
        other => clean(&other.to_string()).into_owned(),
    }
}

fn attempts(page: &mut Page<'_>, detail: &Detail) {
    let app = page.app;
    for attempt in detail.attempts.iter().rev() {
        let (words, role) = ending(attempt);
        let mut parts = vec![words];
        match &attempt.reason {
            Reason::First => {}
            Reason::Requeued => parts.push("requeued".to_owned()),
            Reason::NextTry(why) => parts.push(clean(why).into_owned()),
            Reason::Retried(why) => parts.push(format!("retried: {}", clean(why))),
        }
        parts.push(clean(&attempt.server).into_owned());
        parts.extend(attempt.seed.map(|s| format!("seed {s}")));
        parts.extend(attempt.values.iter().map(|(slot, value)| format!("{} {}", clean(slot), plain(value))));
        parts.extend(attempt.elapsed_s(app.known_at()).map(figures::duration));
        parts.extend(attempt.measurement.as_ref().and_then(|m| m.ssim).map(|s| format!("SSIM {s:.3}")));
        parts.extend(attempt.measurement.as_ref().and_then(|m| m.verdict).map(|v| v.word().to_owned()));
        let count = detail.attempts.len();
        parts.extend(
            (count > 1 && detail.row.state.is_ended() && attempt.number == detail.row.attempt)
                .then(|| "counts".to_owned()),
        );
        match attempt.mark {
            Some(Mark::Kept) => parts.push("kept".to_owned()),
            Some(Mark::Discarded) => parts.push("discarded".to_owned()),
            None => {}
        }
        page.parts(&format!("try {}", attempt.number), &parts, role);
        for note in &attempt.notes {
            page.text("", &clean(note), Role::Quiet);
        }
    }
}

fn ending(attempt: &Attempt) -> (String, Role) {
    match &attempt.ending {
        None => ("under way".to_owned(), Role::Plain),
        Some(Ending::Success) => ("rendered".to_owned(), Role::Plain),
        Some(Ending::Failed(why)) => (format!("failed: {}", clean(&why.message)), Role::Plain),
        Some(Ending::Cancelled(_)) => ("cancelled".to_owned(), Role::Quiet),
        Some(Ending::Lost) => ("lost by the server".to_owned(), Role::Nearly),
    }
}

#[cfg(test)]
mod tests {
    use super::file_url;

    #[test]
    fn a_path_becomes_an_address_without_anything_that_a_terminal_obeys() {
        assert_eq!(file_url("box", "/home/ada/a b.mp4"), "file://box/home/ada/a%20b.mp4");
        assert_eq!(file_url("", "C:\\renders\\歩.mp4"), "file:///C:/renders/%E6%AD%A9.mp4");
        assert_eq!(file_url("", "/x\u{1b}]8;;y"), "file:///x%1B%5D8%3B%3By");
    }
}
