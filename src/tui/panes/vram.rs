//! The server's memory: a gauge, torch's share of it, the peak, and ten minutes of it as a graph.
//!
//! The graph sweeps: time runs from left to right and starts again at the left, writing over what
//! is ten minutes old. One column changes a step, where a graph that shifts changes all of them.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::protocol::{Sample, ServerRow};
use crate::tui::app::{App, GRAPH_SPAN};
use crate::tui::canvas;
use crate::tui::figures::{self, gigabytes};
use crate::tui::layout::Pane;
use crate::tui::theme::Role;

/// Samples closer than this, seconds, leave no gap between them.
const STEADY: i64 = 15;

/// From this share on, memory is about to run out.
const TIGHT: f64 = 0.97;

pub fn vram(app: &App, buf: &mut Buffer, area: Rect, outer: Rect) {
    let theme = app.live_theme();
    let server = app.shown_server();
    super::title(app, buf, Rect { y: area.y.saturating_sub(1), ..outer }, &heading(server), Pane::Server);
    let pad = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let Some((server, last)) = server.and_then(|s| Some((s, s.samples.last()?))) else {
        canvas::text(buf, pad.x, pad.y, pad.width, "not known yet", theme.style(Role::Quiet));
        return;
    };
    let share = share(last.vram_used, last.vram_total);
    let role = if share >= TIGHT { Role::Nearly } else { Role::Plain };
    let used = format!("{} / {} GB", gigabytes(last.vram_used), gigabytes(last.vram_total));
    let mut y = pad.y;
    canvas::text(buf, pad.x, y, pad.width, &used, theme.style(Role::Strong));
    canvas::right(buf, pad.x, y, pad.width, &format!("{:>3} %", figures::percent(share)), theme.style(role));
    y += 1;
    if y < pad.bottom() {
        gauge(app, buf, Rect { y, height: 1, ..pad }, last);
        y += 1;
    }
    let peak = format!("peak {}", gigabytes(peak(server)));
    let facts = if last.torch > 0 { format!("torch {} · {peak}", gigabytes(last.torch)) } else { peak };
    if y < pad.bottom() {
        canvas::text(buf, pad.x, y, pad.width, &facts, theme.style(Role::Quiet));
        y += 1;
    }
    if pad.bottom() >= y + 4 {
        canvas::right(buf, pad.x, y, pad.width, "last 10 min", theme.style(Role::Quiet));
        graph(app, buf, Rect { y: y + 1, height: pad.bottom() - y - 1, ..pad }, server);
    }
}

fn heading(server: Option<&ServerRow>) -> String {
    let device = server.and_then(|s| s.device.as_deref()).map(short_device).unwrap_or_default();
    match server {
        Some(s) if s.is_cpu => "RAM  (no GPU: CPU)".to_owned(),
        _ if device.is_empty() => "VRAM".to_owned(),
        _ => format!("VRAM  {device}"),
    }
}

/// `RTX 4070` of `NVIDIA GeForce RTX 4070`.
fn short_device(name: &str) -> &str {
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    name.strip_prefix("GeForce ").unwrap_or(name)
}

/// Torch's part full, the rest of what is used half, what is free empty.
fn gauge(app: &App, buf: &mut Buffer, area: Rect, sample: &Sample) {
    let theme = app.live_theme();
    let wide = area.width.saturating_sub(2);
    let cells = |bytes: u64| filled(share(bytes, sample.vram_total), wide, 1);
    let used = cells(sample.vram_used);
    let torch = cells(sample.torch).min(used);
    let role = if share(sample.vram_used, sample.vram_total) >= TIGHT { Role::Nearly } else { Role::Plain };
    let quiet = theme.style(Role::Quiet);
    canvas::put(buf, area.x, area.y, "▕", quiet);
    for i in 0..wide {
        let (symbol, style) = if i < torch {
            ("█", theme.style(role))
        } else if i < used {
            ("▒", theme.style(role))
        } else {
            (" ", quiet)
        };
        canvas::put(buf, area.x + 1 + i, area.y, symbol, style);
    }
    canvas::put(buf, area.x + 1 + wide, area.y, "▏", quiet);
}

/// All in one line, for small screens; the clock and the end of the queue share it.
pub fn line(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.live_theme();
    let clock = figures::clock(app.now, &app.setup.zone);
    let mut right = format!("{clock} ");
    if let Some(empty) = super::jobs::queue_empty(app).filter(|_| area.width >= 60) {
        right = format!("{empty}  {right}");
    }
    let wide = canvas::right(buf, area.x, area.y, area.width, &right, theme.style(Role::Plain));
    let room = area.width.saturating_sub(wide + 2);
    let Some((server, last)) = app.shown_server().and_then(|s| Some((s, s.samples.last()?))) else { return };
    let name = if server.is_cpu { "RAM" } else { "VRAM" };
    let words = format!(" {name} {:>4}/{} GB ", gigabytes(last.vram_used), gigabytes(last.vram_total));
    let mut x = area.x + canvas::text(buf, area.x, area.y, room, &words, theme.style(Role::Plain));
    let peak = format!(" peak {:>4}", gigabytes(peak(server)));
    let left = (area.x + room).saturating_sub(x);
    let bar = left.saturating_sub(canvas::cells(&peak)).min(24);
    if bar >= 6 {
        gauge(app, buf, Rect { x, width: bar, ..area }, last);
        x += bar;
        canvas::text(buf, x, area.y, left - bar, &peak, theme.style(Role::Quiet));
    }
}

/// Highest use that the graph knows of.
fn peak(server: &ServerRow) -> u64 {
    server.samples.iter().map(|s| s.vram_used).max().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a share of a gauge")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the width")]
fn filled(share: f64, cells: u16, parts: u16) -> u16 {
    (share.clamp(0.0, 1.0) * f64::from(cells) * f64::from(parts)).round() as u16
}

/// The column of each step: time divided by the step's length, wrapped at the width. `None` where nothing was heard.
fn sweep(samples: &[Sample], now: Timestamp, width: u16) -> Sweep {
    let wide = i64::from(width.max(1));
    let span = i64::try_from(GRAPH_SPAN.as_secs()).unwrap_or(600);
    let step = (span + wide - 1) / wide;
    let at = now.as_second().div_euclid(step);
    let mut columns = vec![None; usize::from(width)];
    let mut before: Option<&Sample> = None;
    for sample in samples {
        let then = sample.at.as_second().div_euclid(step);
        // Where steps are shorter than the time between samples, what was goes on.
        let from = before
            .filter(|b| sample.at.duration_since(b.at).as_secs() <= STEADY)
            .map_or(then, |b| (b.at.as_second().div_euclid(step) + 1).min(then));
        for step in from.max(then - wide)..=then {
            // The column after the newest stays empty: there the old picture ends.
            if step <= at && step > at - wide + 1 {
                let value = if step == then { sample.vram_used } else { before.map_or(0, |b| b.vram_used) };
                let column = usize::try_from(step.rem_euclid(wide)).unwrap_or(0);
                if let Some(cell) = columns.get_mut(column) {
                    *cell = (*cell).max(Some(value));
                }
            }
        }
        before = Some(sample);
    }
    Sweep { columns, now: u16::try_from(at.rem_euclid(wide)).unwrap_or(0) }
}

struct Sweep {
    columns: Vec<Option<u64>>,
    /// The column that is being written.
    now: u16,
}

fn graph(app: &App, buf: &mut Buffer, area: Rect, server: &ServerRow) {
    const PARTS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let theme = app.live_theme();
    let quiet = theme.style(Role::Quiet);
    let total = server.samples.last().map_or(0, |s| s.vram_total);
    let label = 4;
    let plot = Rect { x: area.x + label, width: area.width.saturating_sub(label), height: area.height - 1, ..area };
    let sweep = sweep(&server.samples, app.now, plot.width);

    for y in plot.y..plot.bottom() {
        canvas::put(buf, plot.x - 1, y, "│", quiet);
    }
    canvas::right(
        buf,
        area.x,
        plot.y,
        label - 1,
        &format!("{:.0}", gigabytes(total).parse::<f64>().unwrap_or(0.0)),
        quiet,
    );
    canvas::put(buf, plot.x - 1, plot.y, "┤", quiet);
    canvas::right(buf, area.x, plot.bottom() - 1, label - 1, "0", quiet);
    for (x, value) in (plot.x..plot.right()).zip(&sweep.columns) {
        let Some(value) = value else { continue };
        let eighths = filled(share(*value, total), plot.height, 8).max(1);
        let style = theme.style(if x - plot.x == sweep.now { Role::Plain } else { Role::Quiet });
        for row in 0..plot.height {
            let below = row * 8;
            if eighths > below {
                let part = usize::from((eighths - below).min(8) - 1);
                canvas::put(buf, x, plot.bottom() - 1 - row, PARTS.get(part).copied().unwrap_or("█"), style);
            }
        }
    }
    let axis = plot.bottom();
    canvas::put(buf, plot.x - 1, axis, "└", quiet);
    for x in plot.x..plot.right() {
        canvas::put(buf, x, axis, "─", quiet);
    }
    canvas::put(buf, plot.x + sweep.now, axis, "▲", theme.style(Role::Plain));
    canvas::text(buf, area.x, axis, label - 1, "now", quiet);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, used: u64) -> Sample {
        let at = Timestamp::from_second(at).expect("in range");
        Sample { at, vram_total: 100, vram_used: used, torch: 0, ram_total: 0, ram_used: 0 }
    }

    #[test]
    fn a_step_of_time_changes_one_column_and_clears_the_next() {
        let samples: Vec<_> = (0..120).map(|i| sample(6000 + i * 5, 10 + u64::try_from(i).unwrap_or(0))).collect();
        let before = sweep(&samples, Timestamp::from_second(6595).expect("in range"), 20);
        let mut more = samples.clone();
        more.push(sample(6600, 99));
        let after = sweep(&more, Timestamp::from_second(6600).expect("in range"), 20);
        let changed = before.columns.iter().zip(&after.columns).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 2, "the one written, and the one that the next will take");
        assert_eq!(after.columns.iter().filter(|c| c.is_none()).count(), 1);
        assert_eq!(u32::from(after.now), u32::from(before.now + 1) % 20);
    }

    #[test]
    fn a_server_without_a_past_draws_nothing() {
        assert!(sweep(&[], Timestamp::UNIX_EPOCH, 20).columns.iter().all(Option::is_none));
        assert!(sweep(&[], Timestamp::UNIX_EPOCH, 0).columns.is_empty());
    }
}
