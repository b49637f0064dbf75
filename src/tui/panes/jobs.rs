//! The list of jobs. Rows go straight into the buffer, and only those that are on the screen.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::header;
use crate::job::{CancelledBy, JobState};
use crate::protocol::JobRow;
use crate::tui::app::{App, EngineState};
use crate::tui::canvas;
use crate::tui::columns::{self, Context, Placed};
use crate::tui::figures;
use crate::tui::layout::{Areas, Pane};
use crate::tui::list::Entry;
use crate::tui::theme::{self, Role, Theme};

/// Cells before the first column: the cursor's.
const MARK: u16 = 2;

pub fn jobs(app: &App, buf: &mut Buffer, areas: &Areas) {
    if !areas.main_box.is_empty() {
        heading(app, buf, areas.main_box);
    }
    if app.jobs.is_empty() {
        empty(app, buf, Rect { y: areas.jobs_head.y, height: areas.jobs.height + 1, ..areas.jobs });
        return;
    }
    let placed = placed(app);
    titles(app, buf, areas.jobs_head, &placed);
    let selected = app.selected_job();
    for (y, entry) in (areas.jobs.y..areas.jobs.bottom()).zip(app.jobs.visible()) {
        row(app, buf, Rect { y, height: 1, ..areas.jobs }, &placed, entry, selected == Some(entry.row.id));
    }
}

/// The columns that the list has room for.
pub fn placed(app: &App) -> Vec<Placed> {
    let digits = u16::try_from(app.jobs.highest_id().max(1).ilog10() + 1).unwrap_or(20);
    columns::place(app.areas().jobs.width.saturating_sub(MARK + 1), app.screen_size().0, digits)
}

/// The box's line: what the list shows, how many of which, and when the queue should be empty.
fn heading(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.live_theme();
    let name = super::counted("Jobs", app.jobs.selected_index(), app.jobs.len(), app.jobs.visible().count());
    let mut x = super::title(app, buf, area, &name, Pane::Jobs);
    if let Some(filter) = header::filter(app) {
        x += canvas::text(
            buf,
            x,
            area.y,
            area.right().saturating_sub(x + 2),
            &format!("{filter} "),
            theme.style(Role::Strong),
        );
    }
    let ends = queue_empty(app).map(|words| format!(" {words} "));
    let ends_wide = ends.as_deref().map_or(0, |words| canvas::cells(words) + 3);
    // When the queue ends matters more than how many jobs were cancelled.
    let all = header::counts(app, 3);
    let all_fit = x + canvas::spans_width(&all) + 4 + ends_wide < area.right();
    let counts = if all_fit { all } else { header::counts(app, 2) };
    if !counts.is_empty() {
        x += 2;
        let room = area.right().saturating_sub(x + 3);
        canvas::text(buf, x, area.y, 1, " ", theme.style(Role::Plain));
        let used = canvas::spans(buf, x + 1, area.y, room, &counts);
        x += used + 1;
        x += canvas::text(buf, x, area.y, 1, " ", theme.style(Role::Plain));
    }
    if let Some(words) = ends.filter(|_| x + ends_wide < area.right()) {
        canvas::text(buf, area.right() + 1 - ends_wide, area.y, ends_wide, &words, theme.style(Role::Plain));
    }
}

/// `queue empty ~14:07`, where that can be known.
pub fn queue_empty(app: &App) -> Option<String> {
    app.forecast.empty().map(|at| format!("queue empty {}", figures::about(at, app.now, &app.setup.zone)))
}

fn titles(app: &App, buf: &mut Buffer, area: Rect, placed: &[Placed]) {
    let theme = app.theme();
    let sort = app.jobs.sort();
    for p in placed {
        let sorted = sort.column == Some(p.index);
        let style = theme.style(if sorted { Role::Strong } else { Role::Quiet });
        let x = area.x + MARK + p.x;
        let arrow = if sort.high_first { "▼" } else { "▲" };
        if p.column.align_right {
            let used = canvas::right(buf, x, area.y, p.width, p.column.title, style);
            if sorted {
                // The gap before the column is there even where the title fills it.
                canvas::put(buf, (x + p.width - used).saturating_sub(1), area.y, arrow, style);
            }
        } else {
            let used = canvas::text(buf, x, area.y, p.width, p.column.title, style);
            if sorted {
                canvas::put(buf, x + used, area.y, arrow, style);
            }
        }
    }
    if sort.column.is_none() && sort.high_first {
        canvas::put(buf, area.x, area.y, "▼", theme.style(Role::Strong));
    }
}

fn row(app: &App, buf: &mut Buffer, area: Rect, placed: &[Placed], entry: &Entry, selected: bool) {
    let theme = app.live_theme();
    let row = &entry.row;
    let context = Context {
        now: app.known_at(),
        zone: &app.setup.zone,
        ui: &app.setup.ui,
        ends: app.ends(entry),
        starts: app.forecast.starts(row.id),
        folded: app.jobs.folded(row),
        verdict_apart: placed.iter().any(|p| p.column.json == Some("verdict")),
    };
    if selected {
        canvas::text(buf, area.x, area.y, 1, "▶", app.theme().style(Role::Strong));
    }
    if app.jobs.is_marked(row.id) {
        canvas::text(buf, area.x + 1, area.y, 1, "*", app.theme().style(Role::Strong));
    }
    let best = columns::best_so_far(row, placed).filter(|_| context.folded.is_none());
    if let Some((x, wide, words)) = &best {
        let style = cell_style(theme, row, Role::Quiet, selected);
        canvas::right(buf, area.x + MARK + x, area.y, *wide, words, style);
    }
    for p in placed {
        let mut p = *p;
        if best.as_ref().is_some_and(|(x, wide, _)| (*x..x + wide).contains(&p.x)) {
            continue;
        }
        // It has no numbers: the reason takes their room.
        let is_reason = matches!(row.state, JobState::Rejected { .. }) && p.column.json == Some("state");
        if is_reason {
            p.width = area.right().saturating_sub(area.x + MARK + p.x + 1);
        }
        let (words, role) = (p.column.cell)(&context, row, usize::from(p.width));
        let style = cell_style(theme, row, role, selected);
        let x = area.x + MARK + p.x;
        if p.column.align_right {
            canvas::right(buf, x, area.y, p.width, &words, style);
        } else {
            canvas::text(buf, x, area.y, p.width, &words, style);
        }
        if is_reason {
            break;
        }
    }
}

/// What has not begun, or never will, is grey as a whole; the cursor's row stands out.
fn cell_style(theme: Theme, row: &JobRow, role: Role, selected: bool) -> ratatui::style::Style {
    let plain = match theme::sign(&row.state).1 {
        Role::Waiting | Role::Quiet => Role::Waiting,
        _ => Role::Plain,
    };
    let role = if role == Role::Plain { plain } else { role };
    let style = theme.style(role);
    if selected && matches!(role, Role::Plain | Role::Waiting) {
        style.remove_modifier(Modifier::DIM).add_modifier(Modifier::BOLD)
    } else {
        style
    }
}

/// What to do, where there is nothing to see.
fn empty(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.theme();
    let filter = app.jobs.filter();
    let lines: Vec<(Role, Cow<'_, str>)> = if !filter.is_empty() {
        vec![(Role::Plain, format!("No job matches /{filter}").into()), (Role::Quiet, "Esc shows all of them".into())]
    } else if app.state == EngineState::Connecting {
        vec![(Role::Quiet, "connecting to the engine …".into())]
    } else if let EngineState::Gone { why, asked: false } = &app.state
        && !why.is_empty()
    {
        let room = usize::from(area.width.saturating_sub(8)).max(20);
        canvas::wrap(&crate::text::clean(why), room).into_iter().map(|line| (Role::Bad, line.into())).collect()
    } else if app.state != EngineState::Up {
        vec![(Role::Quiet, "no engine: E starts it".into())]
    } else {
        let inbox =
            canvas::fit_tail(&app.short(&app.setup.inbox), usize::from(area.width.saturating_sub(8))).into_owned();
        vec![
            (Role::Strong, "Nothing to render yet. Drop a job file into".into()),
            (Role::Plain, format!("    {inbox}").into()),
            (Role::Plain, "".into()),
            (Role::Strong, "The shortest one, say walk.json, beside its picture:".into()),
            (Role::Plain, r#"    {"workflow": "wan2.2-i2v-loop","#.into()),
            (Role::Plain, r#"     "image": "start.png", "prompt": "walking"}"#.into()),
            (Role::Plain, "".into()),
            (Role::Strong, "Or from anywhere:".into()),
            (Role::Plain, "    comfytop add walk.json".into()),
        ]
    };
    let tall = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let wide = lines.iter().map(|l| canvas::cells(&l.1)).max().unwrap_or(0).min(area.width);
    let x = area.x + (area.width - wide) / 2;
    let y = area.y + area.height.saturating_sub(tall) / 3;
    for (y, (role, words)) in (y..area.bottom()).zip(lines) {
        canvas::text(buf, x, y, area.right() - x, &words, theme.style(role));
    }
}

/// A state in a word or two, for the details.
pub fn state_words(row: &JobRow) -> String {
    match &row.state {
        JobState::Failed { why } => theme::failure(why.kind).to_owned(),
        JobState::Pending => row.position.map_or_else(|| "pending".to_owned(), |n| format!("pending #{n}")),
        JobState::Duplicate { of } => format!("duplicate of {of}"),
        JobState::Cancelled { by: CancelledBy::Elsewhere } => "cancelled elsewhere".to_owned(),
        other => other.word().to_owned(),
    }
}
