//! The top line: which folder, which server and how it is, what time; and what is wrong, under it.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::job::JobState;
use crate::protocol::{Link, ServerRow};
use crate::tui::app::{App, EngineState};
use crate::tui::canvas;
use crate::tui::figures;
use crate::tui::theme::{Role, Theme};

/// `with_clock`: no other line shows the time.
pub fn header(app: &App, buf: &mut Buffer, area: Rect, with_clock: bool) {
    let theme = app.theme();
    let boxed = with_clock && area.width >= 100;
    let mut clock = Vec::new();
    if with_clock {
        clock.push(Span::raw(format!("  {} ", figures::clock(app.now, &app.setup.zone))));
    } else {
        clock.push(Span::raw(" "));
    }
    // The first of these that leaves room for the program's name is shown.
    let mut choices = Vec::new();
    // Why a server is gone matters more than how many jobs wait for it.
    let down = app.is_up() && app.shown_server().is_some_and(|s| matches!(s.link, Link::Down { .. }));
    let order: &[(Option<u8>, u8)] = if down {
        &[(Some(2), 3), (Some(2), 2), (Some(1), 2), (Some(0), 2), (None, 2), (Some(0), 1), (Some(0), 0)]
    } else {
        &[(Some(2), 3), (Some(2), 2), (Some(2), 1), (Some(1), 1), (Some(0), 1), (Some(0), 0)]
    };
    for &(words, detail) in order {
        let mut right = flow(app, detail);
        right.extend(server(app, detail));
        let counts = words.map(|words| counts(app, words)).unwrap_or_default();
        if !boxed && !counts.is_empty() {
            right.push(Span::raw("   "));
            right.extend(counts);
        }
        right.extend(clock.iter().cloned());
        choices.push(right);
    }
    let name = " comfytop";
    // The folder is worth a few cells, but no words.
    let room = area.width.saturating_sub(canvas::cells(name) + if area.width < 60 { 2 } else { 12 });
    let right = choices.iter().find(|c| canvas::spans_width(c) <= room).or(choices.last());
    let right = right.map_or(&[][..], Vec::as_slice);
    let wide = canvas::spans_width(right).min(room);
    canvas::spans(buf, area.right() - wide, area.y, wide, right);

    let used = canvas::text(buf, area.x, area.y, area.width, name, theme.style(Role::Strong));
    let left = area.width.saturating_sub(used + wide + 4);
    let place = filter(app).filter(|_| !boxed).unwrap_or_else(|| app.short(&app.engine.folder));
    if left >= 6 {
        let place = canvas::fit_tail(&place, usize::from(left)).into_owned();
        canvas::text(buf, area.x + used + 2, area.y, left, &place, theme.style(Role::Quiet));
    }
}

/// `/cat 12 of 340`, while a filter hides jobs.
pub fn filter(app: &App) -> Option<String> {
    let filter = app.jobs.filter();
    (!filter.is_empty()).then(|| format!("/{filter}  {} of {}", app.jobs.len(), app.jobs.total()))
}

/// `1 running · 14 queued · 31 done · 1 failed · 2 cancelled`; the fewer `words` (3 to 0), the shorter.
pub fn counts(app: &App, words: u8) -> Vec<Span<'static>> {
    let theme = app.live_theme();
    let counts = app.jobs.counts();
    let parts = [
        (counts.running, "running", "▸", Role::Running),
        (counts.queued, "queued", "·", Role::Plain),
        (counts.held, "held", "‖", Role::Plain),
        (counts.done, "done", "●", Role::Plain),
        (counts.failed, "failed", "✗", Role::Bad),
        (counts.cancelled, "cancelled", "–", Role::Quiet),
    ];
    let mut out = Vec::new();
    if app.jobs.marks() > 0 {
        out.push(Span::styled(format!("{} marked", app.jobs.marks()), theme.style(Role::Strong)));
    }
    for (n, word, sign, role) in parts.into_iter().filter(|p| p.0 > 0) {
        if (words < 3 && word == "cancelled") || (words < 2 && word == "held") {
            continue;
        }
        if !out.is_empty() {
            out.push(Span::styled(if words > 1 { " · " } else { " " }, theme.style(Role::Quiet)));
        }
        let text = match words {
            0 => format!("{n}{sign}"),
            1 if word == "failed" => format!("{n} {sign}"),
            _ => format!("{n} {word}"),
        };
        out.push(Span::styled(text, theme.style(role)));
    }
    out
}

/// `‖ paused`, where no new work is sent.
fn flow(app: &App, detail: u8) -> Vec<Span<'static>> {
    if !app.is_up() {
        return Vec::new();
    }
    let style = app.theme().style(Role::Nearly);
    let engine = &app.engine.flow;
    let words = match app.shown_server().filter(|s| engine.goes() && !s.flow.goes()) {
        _ if !engine.goes() => engine.word().to_owned(),
        Some(server) if app.servers.len() > 1 => format!("{} {}", server.name, server.flow.word()),
        Some(server) => server.flow.word().to_owned(),
        None => return Vec::new(),
    };
    vec![Span::styled(if detail == 0 { "‖ ".to_owned() } else { format!("‖ {words}  ") }, style)]
}

/// The server's dot and words; the higher `detail`, the more of them.
fn server(app: &App, detail: u8) -> Vec<Span<'static>> {
    let theme = app.live_theme();
    let quiet = theme.style(Role::Quiet);
    match &app.state {
        EngineState::Connecting => return vec![Span::styled("○ connecting to the engine", quiet)],
        EngineState::Refused { .. } => return vec![Span::styled("○ engine of another kind", quiet)],
        EngineState::Gone { .. } => return vec![Span::styled("○ no engine", app.theme().style(Role::Bad))],
        EngineState::Up => {}
    }
    let Some(server) = app.shown_server() else {
        return vec![Span::styled("○ no server", quiet)];
    };
    let mut out = one(server, app.now, detail, theme);
    if app.servers.len() > 1 {
        let up = app.servers.iter().filter(|s| matches!(s.link, Link::Up { .. })).count();
        out.push(Span::styled(format!("  {up} of {} up", app.servers.len()), quiet));
    }
    out
}

fn one(server: &ServerRow, now: Timestamp, detail: u8, theme: Theme) -> Vec<Span<'static>> {
    let quiet = theme.style(Role::Quiet);
    let address = address(&server.url);
    match &server.link {
        Link::Connecting => vec![Span::styled(format!("◌ {address} connecting"), quiet)],
        Link::Down { why, retry_at, .. } => {
            let bad = theme.style(Role::Bad);
            let again = match retry_at.duration_since(now).as_secs() {
                // As wide at 9 as at 10: what stands beside it stays where it is.
                n if n > 0 => format!(" · trying again in {n:>2} s"),
                _ => " · trying again".to_owned(),
            };
            let why = crate::text::clean(why.lines().next().unwrap_or_default()).into_owned();
            let why = canvas::fit(&why, if detail > 2 { 44 } else { 24 }).into_owned();
            match detail {
                0 => vec![Span::styled(format!("○ {address}"), bad)],
                1 => vec![Span::styled(format!("○ {address} {why}"), bad)],
                _ => vec![Span::styled(format!("○ {address} {why}"), bad), Span::styled(again, quiet)],
            }
        }
        Link::Up { heard, .. } => {
            let mut out = vec![
                Span::styled("● ", theme.style(Role::Good)),
                Span::styled(server.name.clone(), theme.style(Role::Strong)),
            ];
            if let Some(version) = server.version.as_deref().filter(|_| detail > 0) {
                let program = if detail > 1 { "  ComfyUI " } else { " " };
                out.push(Span::raw(format!("{program}{version}")));
            }
            if detail > 2 && server.name != address {
                out.push(Span::styled(format!("  {address}"), quiet));
            }
            if !heard {
                out.push(Span::styled("  polling", theme.style(Role::Nearly)));
            } else if detail > 2 {
                out.push(Span::styled("  in step", quiet));
            }
            out
        }
    }
}

/// A URL without what everybody knows.
pub fn address(url: &str) -> String {
    url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/').to_owned()
}

pub fn banners(app: &App, buf: &mut Buffer, area: Rect) {
    for (y, (role, words)) in (area.y..area.bottom()).zip(app.banners()) {
        let sign = if matches!(role, Role::Plain) { " " } else { " ! " };
        canvas::text(buf, area.x, y, area.width, &format!("{sign}{words}"), app.theme().style(role));
    }
}

/// All in one line, for a screen that has no room for panes.
pub fn line(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.live_theme();
    let words = if let Some(question) = &app.question {
        format!("{} y/n", question.words)
    } else if let Some(entry) = app.jobs.running() {
        let row = &entry.row;
        let percent = row
            .progress
            .as_ref()
            .and_then(|p| p.fraction)
            .map_or_else(String::new, |f| format!(" {} %", figures::percent(f)));
        let left = app.ends(entry).map(|e| e.duration_since(app.known_at()).as_secs_f64()).filter(|s| *s >= 0.0);
        let left = left.map_or_else(String::new, |s| format!(" {} left", figures::duration(s)));
        let elapsed = row.elapsed_s(app.known_at()).filter(|_| left.is_empty());
        let elapsed = elapsed.map_or_else(String::new, |s| format!(" {}", figures::duration(s)));
        format!("▸{percent}{left}{elapsed} {} {}", row.id, row.name)
    } else {
        let counts = app.jobs.counts();
        match &app.state {
            EngineState::Up if counts.queued > 0 => format!("· {} queued", counts.queued),
            EngineState::Up => format!("idle · {} done", counts.done),
            EngineState::Connecting => "connecting …".to_owned(),
            EngineState::Gone { .. } | EngineState::Refused { .. } => "no engine · E starts it".to_owned(),
        }
    };
    let paused = app.is_up() && !app.engine.flow.goes();
    let words = if paused { format!("‖ {} {words}", app.engine.flow.word()) } else { words };
    let role = if app.jobs.running().is_some_and(|e| matches!(e.row.state, JobState::Running)) {
        Role::Running
    } else {
        Role::Plain
    };
    canvas::text(buf, area.x, area.y, area.width, &words, theme.style(role));
}
