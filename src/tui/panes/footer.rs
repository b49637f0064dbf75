//! The bottom line: the keys that do something now, or what is being typed or asked; and notices, above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Span;

use crate::protocol::{Level, Notice};
use crate::tui::app::App;
use crate::tui::canvas;
use crate::tui::keys::{Action, Binding, KEYS, Mode};
use crate::tui::theme::Role;

pub fn footer(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.theme();
    let mut right = Vec::new();
    // It gives way to a question, and to what can be done with an attempt; the list says it again.
    if app.engine.simulated && (!matches!(app.mode(), Mode::Ranking | Mode::Asking) || area.width >= 100) {
        right.push(Span::styled(" simulated server ", theme.style(Role::Nearly)));
    }
    let wide = canvas::spans_width(&right).min(area.width);
    canvas::spans(buf, area.right() - wide, area.y, wide, &right);
    let area = Rect { width: area.width - wide, ..area };

    match app.mode() {
        Mode::Typing => typing(app, buf, area),
        Mode::Asking => {
            let words = app.question.as_ref().map(|q| q.words.as_str()).unwrap_or_default();
            let keys = bindings(app);
            let room = area.width.saturating_sub(keys_width(app, &keys) + 2);
            let used = canvas::text(buf, area.x + 1, area.y, room, words, theme.style(Role::Nearly));
            keys_line(
                app,
                buf,
                Rect { x: area.x + 1 + used, width: area.width.saturating_sub(used + 1), ..area },
                &keys,
            );
        }
        _ => keys_line(app, buf, area, &bindings(app)),
    }
}

/// What was said last, while it is fresh: over the end of the line above the keys, so that none of them is hidden; over
/// more of them where it is long and there is room.
pub fn notice(app: &App, buf: &mut Buffer, footer: Rect) {
    let Some((notice, area, lines)) = noticed(app, footer) else { return };
    super::over::clear(buf, area);
    for (y, line) in (area.y..).zip(&lines) {
        canvas::text(buf, area.x + 1, y, area.width - 1, line, app.theme().style(super::server::level(notice.level)));
    }
}

/// What it covers.
pub fn notice_area(app: &App, footer: Rect) -> Option<Rect> {
    noticed(app, footer).map(|(_, area, _)| area)
}

fn noticed(app: &App, footer: Rect) -> Option<(&Notice, Rect, Vec<String>)> {
    let notice = app.said().filter(|_| footer.y > 0 && footer.width > 4)?;
    let sign = if notice.level == Level::Info { "" } else { "! " };
    let words = format!("{sign}{}", crate::text::clean(&notice.text));
    let most = match footer.y {
        ..15 => 1,
        15..29 => 2,
        29.. => 3,
    };
    let lines = canvas::wrap_within(&words, usize::from(footer.width) - 4, most);
    let width = lines.iter().map(|line| canvas::cells(line)).max().unwrap_or(0) + 2;
    let height = u16::try_from(lines.len()).unwrap_or(1);
    let area = Rect { x: footer.right().saturating_sub(width + 1), y: footer.y.saturating_sub(height), width, height };
    Some((notice, area, lines))
}

fn typing(app: &App, buf: &mut Buffer, area: Rect) {
    let Some(input) = &app.typing else { return };
    let theme = app.theme();
    let keys = bindings(app);
    let tail = keys_width(app, &keys);
    let room = area.width.saturating_sub(4).max(1).min(area.width.saturating_sub(tail).max(20));
    let scroll = input.visual_scroll(usize::from(room.saturating_sub(1)));
    // Cut at the left by whole cells; a wide character cut in half leaves its place empty.
    let mut skipped = 0;
    let shown: String = input
        .value()
        .chars()
        .skip_while(|c| {
            let skip = skipped < scroll;
            skipped += canvas::width(c.encode_utf8(&mut [0; 4]));
            skip
        })
        .collect();
    let used = canvas::text(buf, area.x, area.y, room, &format!(" /{shown} "), theme.style(Role::Strong));
    let at = u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
    if let Some(cell) = buf.cell_mut((area.x + 2 + at, area.y)) {
        cell.set_style(theme.style(Role::Strong).add_modifier(Modifier::REVERSED));
    }
    let used = used.max(at + 3);
    let matches = format!(" {} of {} ", app.jobs.len(), app.jobs.total());
    let x = area.x + used;
    let more = canvas::text(buf, x, area.y, area.right().saturating_sub(x), &matches, theme.style(Role::Quiet));
    let rest = Rect { x: x + more, width: area.width.saturating_sub(used + more), ..area };
    keys_line(app, buf, rest, &keys);
}

/// The keys that do something now, as the footer shows them: help and leave last.
pub fn bindings(app: &App) -> Vec<&'static Binding> {
    let mode = app.mode();
    let alive = |b: &&Binding| !b.short.is_empty() && b.modes.contains(&mode) && app.can(b.action);
    KEYS.iter().filter(alive).collect()
}

/// A key and its short words, as they are true now.
fn shown(app: &App, binding: &Binding) -> (String, &'static str) {
    let key = binding.keys.first().map_or_else(String::new, |k| k.label());
    let words = match binding.action {
        Action::Start => app.start_words(),
        Action::Pause => app.pause_words(),
        Action::Hold => app.hold_words(),
        Action::Play => app.play_words(),
        Action::Back => app.back_words(),
        Action::Discard => app.discard_words(),
        _ => binding.short,
    };
    (key, words)
}

fn keys_width(app: &App, keys: &[&Binding]) -> u16 {
    keys.iter().map(|b| width(app, b)).sum()
}

fn width(app: &App, binding: &Binding) -> u16 {
    let (key, words) = shown(app, binding);
    canvas::cells(&key) + canvas::cells(words) + 3
}

/// What a job that has ended with an output is there for, the most useful first; the other keys come after these.
const ON_OUTPUT: [Action; 6] =
    [Action::Repair, Action::Pictures, Action::Ranking, Action::Play, Action::Requeue, Action::Open];

/// How soon a key gives way where not all fit: the higher, the sooner.
fn gives_way(app: &App, action: Action) -> usize {
    let has_output = app.jobs.selected().is_some_and(|e| e.row.state.is_ended() && !e.row.outputs.is_empty());
    if !has_output || !matches!(app.mode(), Mode::Jobs | Mode::Detail) {
        return 0;
    }
    ON_OUTPUT.iter().position(|one| *one == action).unwrap_or(ON_OUTPUT.len())
}

/// As many keys as fit; the ways out and back stand last and are never the ones to go.
fn keys_line(app: &App, buf: &mut Buffer, area: Rect, keys: &[&Binding]) {
    let theme = app.theme();
    let always = |b: &Binding| matches!(b.action, Action::Help | Action::Leave | Action::Back | Action::Start);
    let mut room = area.width.saturating_sub(keys.iter().filter(|b| always(b)).map(|b| width(app, b)).sum());
    let mut by_use: Vec<_> = keys.iter().copied().filter(|b| !always(b)).collect();
    by_use.sort_by_key(|b| gives_way(app, b.action));
    by_use.retain({
        let mut full = false;
        move |b| {
            let wide = width(app, b);
            full |= wide > room;
            room = room.saturating_sub(wide);
            !full
        }
    });
    let fits = |b: &Binding| always(b) || by_use.iter().any(|one| one.action == b.action);
    let mut x = area.x + 1;
    for binding in keys.iter().filter(|b| fits(b)) {
        let (key, words) = shown(app, binding);
        let line = [
            Span::styled(key, theme.style(Role::Strong)),
            Span::raw(" "),
            Span::styled(words, theme.style(Role::Quiet)),
        ];
        let used = canvas::spans(buf, x, area.y, area.right().saturating_sub(x), &line);
        x += used + 2;
    }
}
