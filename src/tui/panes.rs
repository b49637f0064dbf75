//! The whole screen, pane by pane: [`draw`] is a pure function of the state.
//!
//! One file a pane, one function a region. A new pane is a file here, a rectangle in `layout.rs`
//! and a line in [`draw`].

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::App;
use super::canvas;
use super::layout::Pane;
use super::theme::Role;

mod curves;
pub mod detail;
pub mod footer;
mod header;
pub mod help;
pub mod jobs;
mod over;
pub mod pictures;
mod ranking;
mod server;
mod vram;

/// Draws everything. The buffer is expected to be empty.
pub fn draw(app: &App, buf: &mut Buffer) {
    let areas = app.areas();
    if !areas.line.is_empty() {
        header::line(app, buf, areas.line);
        return;
    }
    header::header(app, buf, areas.header, areas.vram_line.is_empty());
    header::banners(app, buf, areas.banners);
    let quiet = app.theme().style(Role::Quiet);
    for area in [areas.main_box, areas.side_box] {
        canvas::frame(buf, area, quiet);
    }
    // Small screens have titles, but no boxes.
    let side_box = match (areas.side_box.is_empty(), areas.main_box.is_empty()) {
        (false, _) => areas.side_box,
        (true, false) => areas.main_box,
        (true, true) => Rect { height: 0, ..buf.area },
    };
    if let Some(y) = areas.main_divider {
        canvas::divider(buf, areas.main_box, y, quiet);
    }
    if let Some(y) = areas.side_divider
        && !side_box.is_empty()
    {
        canvas::divider(buf, side_box, y, quiet);
    }
    if !areas.vram_line.is_empty() {
        vram::line(app, buf, areas.vram_line);
    }
    if !areas.jobs.is_empty() {
        jobs::jobs(app, buf, &areas);
    }
    if !areas.detail.is_empty() {
        detail::detail(app, buf, &areas);
    }
    if !areas.detail_line.is_empty() {
        detail::line(app, buf, areas.detail_line);
    }
    // The ranking shows them itself.
    if !areas.pictures.is_empty() && app.ranking.is_none() {
        pictures::pictures(app, buf, areas.pictures);
    }
    if !areas.vram.is_empty() {
        vram::vram(app, buf, areas.vram, side_box);
    }
    if !areas.server.is_empty() {
        server::server(app, buf, areas.server, side_box);
    }
    footer::footer(app, buf, areas.footer);
    ranking::ranking(app, buf);
    ranking::menu(app, buf);
    if app.help.is_some() {
        help::help(app, buf);
    }
    footer::notice(app, buf, areas.footer);
}

/// What lies over the panes, and goes again.
pub fn covers(app: &App) -> Vec<Rect> {
    let help = app.help.map(|_| help::area(app));
    let menu = app.menu.as_ref().map(|menu| ranking::menu_area(menu, app.screen_size()));
    let notice = footer::notice_area(app, app.areas().footer);
    help.into_iter().chain(menu).chain(notice).collect()
}

/// What a list is called; where not all of it is shown, with the cursor's place in it: `Jobs 12/48`.
fn counted(name: &str, at: Option<usize>, of: usize, shown: usize) -> String {
    match at.filter(|_| of > shown) {
        Some(at) => format!("{name} {}/{of}", at + 1),
        None => name.to_owned(),
    }
}

/// A title on a box's line: strong where the pane has the focus. Returns the column after it.
fn title(app: &App, buf: &mut Buffer, line: Rect, words: &str, pane: Pane) -> u16 {
    let role = if app.focus == pane { Role::Strong } else { Role::Plain };
    let x = line.x + 2;
    let words = format!(" {words} ");
    x + canvas::text(buf, x, line.y, line.width.saturating_sub(4), &words, app.theme().style(role))
}
