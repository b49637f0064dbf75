//! The server: where it is, since when, what it has to do, how it was started; and the latest notices.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::header::address;
use crate::protocol::{Level, Link, ServerRow};
use crate::tui::app::{App, EngineState};
use crate::tui::canvas;
use crate::tui::figures::{self, gigabytes};
use crate::tui::layout::Pane;
use crate::tui::theme::Role;

pub fn server(app: &App, buf: &mut Buffer, area: Rect, outer: Rect) {
    let heading = match app.servers.len() {
        0 | 1 => "Server".to_owned(),
        n => format!("Server {} of {n}", app.server + 1),
    };
    super::title(app, buf, Rect { y: area.y.saturating_sub(1), ..outer }, &heading, Pane::Server);
    let pad = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut y = pad.y;
    for line in lines(app, pad.width) {
        if y >= pad.bottom() {
            break;
        }
        canvas::spans(buf, pad.x, y, pad.width, &line);
        y += 1;
    }
    if pad.bottom() >= y + 4 {
        notices(app, buf, Rect { y: y + 1, height: pad.bottom() - y - 1, ..pad }, outer);
    }
}

fn lines(app: &App, width: u16) -> Vec<Vec<Span<'static>>> {
    let theme = app.live_theme();
    let quiet = theme.style(Role::Quiet);
    let Some(server) = app.shown_server() else {
        let words = if app.state == EngineState::Up { "none is set up" } else { "not known yet" };
        return vec![vec![Span::styled(words, quiet)]];
    };
    let label = |words: &str| Span::styled(format!("{words:<8}"), quiet);
    let moment = |at| figures::moment(at, app.now, &app.setup.zone);
    let mut out = Vec::new();
    out.push(vec![Span::styled(server.name.clone(), theme.style(Role::Strong))]);
    match &server.link {
        Link::Connecting => out.push(vec![Span::styled("◌ connecting", quiet)]),
        Link::Up { since, heard } => {
            let mut line =
                vec![Span::styled("● ", theme.style(Role::Good)), Span::raw(format!("since {}", moment(*since)))];
            if !heard {
                line.push(Span::styled("  polling", theme.style(Role::Nearly)));
            }
            out.push(line);
        }
        Link::Down { since, why, .. } => {
            out.push(vec![Span::styled(format!("○ gone since {}", moment(*since)), theme.style(Role::Bad))]);
            for (line, role) in why.lines().zip([Role::Plain, Role::Quiet]) {
                let line = canvas::wrap(&crate::text::clean(line), usize::from(width));
                out.extend(line.into_iter().take(8).map(|l| vec![Span::styled(l, theme.style(role))]));
            }
        }
    }
    if let Some(version) = &server.version {
        out.push(vec![label("ComfyUI"), Span::raw(version.clone())]);
    }
    let address = address(&server.url);
    if address != server.name {
        out.push(vec![Span::raw(address)]);
    }
    out.push(vec![label("running"), Span::raw(running(server))]);
    out.push(vec![label("pending"), Span::raw(counted(server.pending_ours.to_string(), server.pending_others))]);
    if let Some(last) = server.samples.last().filter(|s| s.ram_total > 0 && !server.is_cpu) {
        out.push(vec![
            label("RAM"),
            Span::raw(format!("{} / {} GB", gigabytes(last.ram_used), gigabytes(last.ram_total))),
        ]);
    }
    if !server.flags.is_empty() {
        let flags = crate::text::clean(&server.flags.join(" ")).into_owned();
        out.extend(canvas::wrap(&flags, usize::from(width)).into_iter().take(4).map(|l| vec![Span::styled(l, quiet)]));
    }
    out
}

fn running(server: &ServerRow) -> String {
    let ours: Vec<_> = server.running.iter().filter_map(|p| p.job).map(|id| id.to_string()).collect();
    let others = u32::try_from(server.running.len() - ours.len()).unwrap_or(u32::MAX);
    counted(if ours.is_empty() { "0".to_owned() } else { ours.join(" ") }, others)
}

/// Ours, and the others' where there are some.
fn counted(ours: String, others: u32) -> String {
    if others == 0 { ours } else { format!("{ours} · others {others}") }
}

/// The latest at the bottom, as a log reads.
fn notices(app: &App, buf: &mut Buffer, area: Rect, outer: Rect) {
    if app.notices.is_empty() || area.height < 3 {
        return;
    }
    let quiet = app.theme().style(Role::Quiet);
    canvas::divider(buf, outer, area.y, quiet);
    canvas::text(buf, outer.x + 2, area.y, outer.width.saturating_sub(4), " Notices ", app.theme().style(Role::Plain));
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let mut lines = Vec::new();
    for notice in app.notices.iter().rev() {
        let words = format!("{} {}", figures::clock(notice.at, &app.setup.zone), crate::text::clean(&notice.text));
        let role = level(notice.level);
        lines.extend(canvas::wrap(&words, usize::from(area.width)).into_iter().take(4).rev().map(|l| (role, l)));
        if lines.len() >= usize::from(area.height) {
            break;
        }
    }
    lines.truncate(usize::from(area.height));
    for (y, (role, words)) in (area.y..area.bottom()).zip(lines.into_iter().rev()) {
        canvas::text(buf, area.x, y, area.width, &words, app.theme().style(role));
    }
}

pub fn level(level: Level) -> Role {
    match level {
        Level::Info => Role::Plain,
        Level::Warning => Role::Nearly,
        Level::Error => Role::Bad,
    }
}
