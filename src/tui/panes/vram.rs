//! The server's memory: a gauge a device, torch's share of it, the peak, and the first device's last minutes as a graph.
//!
//! The graph sweeps: time runs from left to right and starts again at the left, writing over what
//! is ten minutes old. One column changes a step, where a graph that shifts changes all of them.
//! While less is known it fills from the left, over two, five, then ten minutes.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::protocol::{DeviceUse, Sample, ServerRow};
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
    let mut y = pad.y;
    let names = server.device.iter().chain(&server.other_devices).map(|name| short_device(name));
    for (device, name) in last.devices().zip(names.chain(std::iter::repeat(""))) {
        let row = |y| Rect { y, height: 1, ..pad };
        if y < pad.bottom() {
            // The only one has its name in the heading.
            let name = if last.others.is_empty() { "" } else { name };
            figures_line(app, buf, row(y), name, device);
            y += 1;
        }
        if y < pad.bottom() {
            gauge(app, buf, row(y), device);
            y += 1;
        }
    }
    let peak = format!("peak {}", gigabytes(peak(server)));
    let facts = if last.torch > 0 { format!("torch {} · {peak}", gigabytes(last.torch)) } else { peak };
    if y < pad.bottom() {
        canvas::text(buf, pad.x, y, pad.width, &facts, theme.style(Role::Quiet));
        y += 1;
    }
    if pad.bottom() >= y + 4 {
        let window = Window::of(&server.samples, app.now);
        canvas::right(buf, pad.x, y, pad.width, &format!("last {} min", window.span / 60), theme.style(Role::Quiet));
        graph(app, buf, Rect { y: y + 1, height: pad.bottom() - y - 1, ..pad }, server, window);
    }
}

fn heading(server: Option<&ServerRow>) -> String {
    let device = server.and_then(|s| s.device.as_deref()).map(short_device).unwrap_or_default();
    match server {
        Some(s) if s.is_cpu => "RAM  (no GPU: CPU)".to_owned(),
        Some(s) if !s.other_devices.is_empty() => format!("VRAM  {} devices", s.other_devices.len() + 1),
        _ if device.is_empty() => "VRAM".to_owned(),
        _ => format!("VRAM  {device}"),
    }
}

/// `RTX 4070` of `NVIDIA GeForce RTX 4070`.
fn short_device(name: &str) -> &str {
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    name.strip_prefix("GeForce ").unwrap_or(name)
}

/// `11.4 / 12.0 GB   95 %`; with the device's name in front, the share goes.
fn figures_line(app: &App, buf: &mut Buffer, area: Rect, name: &str, device: DeviceUse) {
    let theme = app.live_theme();
    let share = share(device.vram_used, device.vram_total);
    let role = if share >= TIGHT { Role::Nearly } else { Role::Plain };
    let (used, total) = (gigabytes(device.vram_used), gigabytes(device.vram_total));
    if name.is_empty() {
        let used = format!("{used} / {total} GB");
        canvas::text(buf, area.x, area.y, area.width, &used, theme.style(Role::Strong));
        canvas::right(buf, area.x, area.y, area.width, &format!("{:>3} %", figures::percent(share)), theme.style(role));
        return;
    }
    let used = format!("{used}/{total} GB");
    let wide = canvas::right(buf, area.x, area.y, area.width, &used, theme.style(Role::Strong));
    // Cards of one make differ at their ends.
    let name =
        canvas::fit_tail(&crate::text::clean(name), usize::from(area.width.saturating_sub(wide + 1))).into_owned();
    canvas::text(buf, area.x, area.y, area.width.saturating_sub(wide + 1), &name, theme.style(role));
}

/// Torch's part full, the rest of what is used half, what is free empty.
fn gauge(app: &App, buf: &mut Buffer, area: Rect, device: DeviceUse) {
    let theme = app.live_theme();
    let wide = area.width.saturating_sub(2);
    let cells = |bytes: u64| filled(share(bytes, device.vram_total), wide, 1);
    let used = cells(device.vram_used);
    let torch = cells(device.torch).min(used);
    let role = if share(device.vram_used, device.vram_total) >= TIGHT { Role::Nearly } else { Role::Plain };
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
    let name = match server.other_devices.len() {
        _ if server.is_cpu => "RAM".to_owned(),
        0 => "VRAM".to_owned(),
        others => format!("VRAM 1/{}", others + 1),
    };
    let words = format!(" {name} {:>4}/{} GB ", gigabytes(last.vram_used), gigabytes(last.vram_total));
    let mut x = area.x + canvas::text(buf, area.x, area.y, room, &words, theme.style(Role::Plain));
    let peak = format!(" peak {:>4}", gigabytes(peak(server)));
    let left = (area.x + room).saturating_sub(x);
    let bar = left.saturating_sub(canvas::cells(&peak)).min(24);
    if bar >= 6 {
        if let Some(first) = last.devices().next() {
            gauge(app, buf, Rect { x, width: bar, ..area }, first);
        }
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

/// Which time the graph shows, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    span: i64,
    /// What stands at the left edge; the clock's own beginning once the graph is full, so that it sweeps on.
    origin: i64,
}

impl Window {
    /// It is full, and begins again at the left.
    fn sweeps(self) -> bool {
        self.origin == 0
    }

    /// The shortest that holds all that is known: an hour's graph of one minute would be one column.
    fn of(samples: &[Sample], now: Timestamp) -> Self {
        let whole = i64::try_from(GRAPH_SPAN.as_secs()).unwrap_or(600);
        let first = samples.first().map_or(now, |s| s.at).as_second();
        let age = now.as_second() - first;
        let span = [120, 300].into_iter().find(|span| age < *span).unwrap_or(whole);
        Self { span, origin: if age < whole { first } else { 0 } }
    }
}

/// The column of each step: time divided by the step's length, wrapped at the width. `None` where nothing was heard.
fn sweep(samples: &[Sample], now: Timestamp, width: u16, window: Window) -> Sweep {
    let wide = i64::from(width.max(1));
    let step = (window.span + wide - 1) / wide;
    let step_of = |at: Timestamp| (at.as_second() - window.origin).div_euclid(step);
    let at = step_of(now);
    let mut columns = vec![None; usize::from(width)];
    let mut before: Option<&Sample> = None;
    for sample in samples {
        let then = step_of(sample.at);
        // Where steps are shorter than the time between samples, what was goes on.
        let from = before
            .filter(|b| sample.at.duration_since(b.at).as_secs() <= STEADY)
            .map_or(then, |b| (step_of(b.at) + 1).min(then));
        for step in from.max(then - wide)..=then {
            // Where it sweeps, the column after the newest stays empty: there the old picture ends.
            if step <= at && step > at - wide + i64::from(window.sweeps()) {
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

fn graph(app: &App, buf: &mut Buffer, area: Rect, server: &ServerRow, window: Window) {
    const PARTS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let theme = app.live_theme();
    let quiet = theme.style(Role::Quiet);
    let total = server.samples.last().map_or(0, |s| s.vram_total);
    let label = 4;
    let plot = Rect { x: area.x + label, width: area.width.saturating_sub(label), height: area.height - 1, ..area };
    let sweep = sweep(&server.samples, app.now, plot.width, window);

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

    const WHOLE: Window = Window { span: 600, origin: 0 };

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).expect("in range")
    }

    fn sample(at: i64, used: u64) -> Sample {
        let others = Vec::new();
        Sample { at: second(at), vram_total: 100, vram_used: used, torch: 0, ram_total: 0, ram_used: 0, others }
    }

    #[test]
    fn a_step_of_time_changes_one_column_and_clears_the_next() {
        let samples: Vec<_> = (0..120).map(|i| sample(6000 + i * 5, 10 + u64::try_from(i).unwrap_or(0))).collect();
        let before = sweep(&samples, second(6595), 20, WHOLE);
        let mut more = samples.clone();
        more.push(sample(6600, 99));
        let after = sweep(&more, second(6600), 20, WHOLE);
        let changed = before.columns.iter().zip(&after.columns).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 2, "the one written, and the one that the next will take");
        assert_eq!(after.columns.iter().filter(|c| c.is_none()).count(), 1);
        assert_eq!(u32::from(after.now), u32::from(before.now + 1) % 20);
    }

    #[test]
    fn a_graph_that_knows_little_fills_from_the_left_and_grows() {
        let first = 12_345;
        let samples: Vec<_> = (0..140).map(|i| sample(first + i * 5, 10)).collect();
        let known = |age: i64| &samples[..usize::try_from(age / 5 + 1).expect("small")];
        let at = |age: i64| (Window::of(known(age), second(first + age)), sweep_at(&samples, first, age));
        assert_eq!(at(0), (Window { span: 120, origin: first }, (1, 0)));
        assert_eq!(at(60), (Window { span: 120, origin: first }, (11, 10)));
        assert_eq!(at(115), (Window { span: 120, origin: first }, (20, 19)));
        assert_eq!(at(120), (Window { span: 300, origin: first }, (9, 8)), "less than half of it, once");
        assert_eq!(at(595).0, Window { span: 600, origin: first });
        assert_eq!(at(600).0, WHOLE, "from now on it sweeps");
    }

    /// How many columns hold something, and which is being written.
    fn sweep_at(samples: &[Sample], first: i64, age: i64) -> (usize, u16) {
        let known = &samples[..usize::try_from(age / 5 + 1).expect("small")];
        let now = second(first + age);
        let sweep = sweep(known, now, 20, Window::of(known, now));
        let filled = sweep.columns.iter().take_while(|c| c.is_some()).count();
        assert!(age >= 600 || sweep.columns.iter().skip(filled).all(Option::is_none));
        (filled, sweep.now)
    }

    #[test]
    fn a_server_without_a_past_draws_nothing() {
        assert!(sweep(&[], Timestamp::UNIX_EPOCH, 20, WHOLE).columns.iter().all(Option::is_none));
        assert!(sweep(&[], Timestamp::UNIX_EPOCH, 0, WHOLE).columns.is_empty());
    }
}
