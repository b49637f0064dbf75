//! Attempts side by side, the best first; and the ways to repair one. Both lie over everything else.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::over;
use crate::job::Mark;
use crate::protocol::Ranked;
use crate::text::clean;
use crate::tui::app::{App, Menu};
use crate::tui::canvas;
use crate::tui::figures;
use crate::tui::theme::{self, Role};

/// One column: title, cells, right-aligned.
type Column = (&'static str, u16, bool);

const COLUMNS: [Column; 8] = [
    ("", 2, false),
    ("verdict", 8, false),
    ("SSIM", 6, true),
    ("seam", 6, true),
    ("light", 6, true),
    ("took", 8, true),
    ("job", 9, true),
    ("seed", 16, true),
];

/// On a narrow screen a long seed is cut, so that there is room for what sets an attempt apart.
fn width_of(column: &Column, inside: Rect) -> u16 {
    if column.0 == "seed" && inside.width < 100 { 8 } else { column.1 }
}

pub fn ranking(app: &App, buf: &mut Buffer) {
    let Some(ranking) = &app.ranking else { return };
    let (theme, size) = (app.theme(), app.screen_size());
    let areas = ranking.areas(size, app.gallery.is_open());
    let (area, inside) = (areas.frame, areas.head);
    over::clear(buf, area);
    canvas::frame(buf, area, theme.style(Role::Quiet));
    let of = ranking.rows.as_ref().map_or(0, Vec::len);
    let name = super::counted("Ranking", Some(ranking.at), of, areas.rows.height.into());
    let title = format!(" {name}: {} ", clean(&ranking.title));
    canvas::text(buf, area.x + 2, area.y, area.width.saturating_sub(4), &title, theme.style(Role::Strong));
    let Some(rows) = ranking.rows.as_ref().filter(|rows| !rows.is_empty()) else {
        let words = if ranking.rows.is_none() { "asking the engine …" } else { "nothing is rendered yet" };
        canvas::text(buf, inside.x + 1, inside.y, inside.width, words, theme.style(Role::Quiet));
        return;
    };
    let mut x = inside.x + 1;
    for column in &COLUMNS {
        let (title, right, width) = (column.0, column.2, width_of(column, inside));
        let style = theme.style(Role::Quiet);
        if right {
            canvas::right(buf, x, inside.y, width, title, style);
        } else {
            canvas::text(buf, x, inside.y, width, title, style);
        }
        x += width + 1;
    }
    canvas::text(buf, x, inside.y, inside.right().saturating_sub(x), "apart by", theme.style(Role::Quiet));
    let room = usize::from(areas.rows.height);
    // The cursor stays on the screen.
    let top = ranking.at.saturating_sub(room.saturating_sub(1));
    for (y, (at, row)) in (areas.rows.y..).zip(rows.iter().enumerate().skip(top).take(room)) {
        attempt(app, buf, Rect { y, height: 1, ..inside }, row, at == ranking.at);
    }
    if let Some(row) = ranking.selected() {
        about(app, buf, areas.about, row);
    }
    if !areas.pictures.is_empty() {
        super::pictures::pictures(app, buf, areas.pictures);
    }
}

fn attempt(app: &App, buf: &mut Buffer, line: Rect, row: &Ranked, selected: bool) {
    let theme = app.live_theme();
    // As it is ranked: by the better of the output and its mended copies.
    let known = row.best().cloned().unwrap_or_default();
    let mended = if row.is_mended() { "→ " } else { "" };
    let discarded = row.is_discarded();
    // Kept by a person, else what counts by its numbers, else out of the way.
    let sign = match row.mark {
        Some(Mark::Kept) => "♥",
        Some(Mark::Discarded) => "–",
        None if row.counts => "●",
        None => " ",
    };
    let verdict = known.verdict.map_or(("n/a", Role::Quiet), |v| (v.word(), theme::verdict(v)));
    let ssim =
        known.ssim.map_or((String::new(), Role::Plain), |s| (format!("{s:.3}"), theme::loop_quality(s, &app.setup.ui)));
    let cells = [
        (sign.to_owned(), Role::Good),
        (format!("{mended}{}", verdict.0), verdict.1),
        ssim,
        (known.seam_words().unwrap_or_default(), Role::Plain),
        (known.luma_step.map_or_else(String::new, |step| format!("{step:+.1}")), Role::Plain),
        (row.elapsed_s.map_or_else(String::new, figures::duration), Role::Plain),
        (format!("{}.{}", row.job, row.attempt), Role::Plain),
        (row.seed.map_or_else(String::new, |seed| seed.to_string()), Role::Plain),
    ];
    if selected {
        canvas::text(buf, line.x, line.y, 1, "▶", app.theme().style(Role::Strong));
    }
    let mut x = line.x + 1;
    for (column, (words, role)) in COLUMNS.iter().zip(cells) {
        let width = width_of(column, line);
        let role = if discarded { Role::Quiet } else { role };
        let words = canvas::fit(&words, usize::from(width)).into_owned();
        if column.2 {
            canvas::right(buf, x, line.y, width, &words, theme.style(role));
        } else {
            canvas::text(buf, x, line.y, width, &words, theme.style(role));
        }
        x += width + 1;
    }
    let apart = if row.varies.is_empty() { clean(&row.name) } else { clean(&row.varies) };
    let role = if discarded { Role::Quiet } else { Role::Plain };
    canvas::text(buf, x, line.y, line.right().saturating_sub(x), &apart, theme.style(role));
}

/// What there is to say of the one under the cursor: its file, its advice, its copies.
fn about(app: &App, buf: &mut Buffer, area: Rect, row: &Ranked) {
    let theme = app.live_theme();
    let quiet = theme.style(Role::Quiet);
    let wide = area.width.saturating_sub(2);
    let path = row.outputs.first().map(|output| output.path.as_str()).unwrap_or_default();
    let path = canvas::fit_tail(&clean(path), usize::from(wide)).into_owned();
    canvas::text(buf, area.x + 1, area.y, wide, &path, theme.style(Role::Plain));
    let mut facts = Vec::new();
    facts.extend(row.passes.map(|passes| if passes { "passes" } else { "does not pass" }.to_owned()));
    match row.mark {
        Some(Mark::Kept) => facts.push("kept: it counts, whatever the numbers say".to_owned()),
        Some(Mark::Discarded) => facts.push("discarded".to_owned()),
        None if row.counts => facts.push("it counts".to_owned()),
        None => {}
    }
    let known = row.measurement.as_ref();
    // A copy that is the better loop has done what is advised.
    let advised = known.filter(|_| !row.is_mended());
    facts.extend(advised.and_then(|known| known.advice.as_ref()).map(|advice| clean(advice).into_owned()));
    let notes = known.and_then(|known| if row.repaired.is_empty() { known.notes() } else { known.note.clone() });
    facts.extend(notes.map(|note| clean(&note).into_owned()));
    canvas::text(buf, area.x + 1, area.y + 1, wide, &facts.join(" · "), quiet);
    let copies: Vec<_> = row.repaired.iter().map(|r| format!("{}, {}", r.how, r.measurement.words())).collect();
    if !copies.is_empty() {
        let words = format!("repaired: {}", clean(&copies.join(" · ")));
        canvas::text(buf, area.x + 1, area.y + 2, wide, &words, theme.style(Role::Plain));
    }
}

/// What the menu covers.
pub fn menu_area(menu: &Menu, (width, height): (u16, u16)) -> Rect {
    let longest = menu.ways.iter().map(|way| canvas::cells(&way.sentence()) + 14).max().unwrap_or(0);
    let wide = longest.max(canvas::cells(&menu_title(menu)) + 4).clamp(40, 76).min(width);
    let tall = u16::try_from(menu.ways.len()).unwrap_or(u16::MAX).saturating_add(2).min(height.saturating_sub(1));
    Rect { x: (width - wide) / 2, y: height.saturating_sub(1 + tall) / 2, width: wide, height: tall }
}

fn menu_title(menu: &Menu) -> String {
    format!(" {} ", clean(&menu.title))
}

/// The ways to repair an output.
pub fn menu(app: &App, buf: &mut Buffer) {
    let Some(menu) = &app.menu else { return };
    let theme = app.theme();
    let words: Vec<_> = menu.ways.iter().map(|way| way.sentence()).collect();
    let area = menu_area(menu, (buf.area.width, buf.area.height));
    let wide = area.width;
    over::clear(buf, area);
    canvas::frame(buf, area, theme.style(Role::Quiet));
    canvas::text(buf, area.x + 2, area.y, wide.saturating_sub(4), &menu_title(menu), theme.style(Role::Strong));
    for (at, (y, words)) in (area.y + 1..area.bottom() - 1).zip(&words).enumerate() {
        let role = if at == menu.at { Role::Strong } else { Role::Plain };
        let mut line = vec![
            Span::styled(if at == menu.at { "▶ " } else { "  " }, theme.style(Role::Strong)),
            Span::styled(words.clone(), theme.style(role)),
        ];
        if at == 0 && menu.is_advised {
            line.push(Span::styled("  advised", theme.style(Role::Good)));
        }
        canvas::spans(buf, area.x + 1, y, wide.saturating_sub(2), &line);
    }
}
