//! Which pane stands where, for every size of screen.
//!
//! Pure. A function of the size, the focus and the number of banners only: the state asks it how
//! many rows the list has, the drawing asks it where they go, and both get the same answer.

use ratatui::layout::Rect;

/// A pane that can have the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    Jobs,
    Detail,
    Server,
}

/// Where everything is drawn. An empty rectangle is not drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    /// Too small for panes: one line says it all.
    pub line: Rect,
    pub header: Rect,
    pub banners: Rect,
    /// One line of VRAM, where the side panel has no room.
    pub vram_line: Rect,
    /// The box round jobs and details; empty on small screens, which have no boxes.
    pub main_box: Rect,
    /// The box round VRAM and server.
    pub side_box: Rect,
    /// Where a box is divided between its two panes, row.
    pub main_divider: Option<u16>,
    pub side_divider: Option<u16>,
    /// Titles of the columns.
    pub jobs_head: Rect,
    pub jobs: Rect,
    pub detail: Rect,
    /// One line of the selected job, where the details have no room.
    pub detail_line: Rect,
    /// Pictures of the selected job, where they are wanted and there is room.
    pub pictures: Rect,
    pub vram: Rect,
    pub server: Rect,
    pub footer: Rect,
}

/// From this size on there are boxes, and a side panel.
const SIDE_FROM: u16 = 100;
/// From this height on the details have a pane of their own.
const DETAIL_FROM: u16 = 28;

/// Fewer cells show no picture.
const PICTURES_FROM: (u16, u16) = (16, 5);

/// Text beside pictures has so many cells at least.
const TEXT: u16 = 44;

/// How many columns of a place the pictures can use.
pub type Wide<'a> = &'a dyn Fn(Rect) -> u16;

/// Places all panes. `banners`: lines wanted under the header; `pictures`: they are wanted.
pub fn areas(width: u16, height: u16, banners: u16, focus: Pane, zoomed: bool, pictures: Option<Wide<'_>>) -> Areas {
    let mut a = Areas::default();
    if width < 40 || height < 8 {
        a.line = Rect::new(0, 0, width, height.min(1));
        return a;
    }
    let banners = banners.min(height / 8);
    a.header = Rect::new(0, 0, width, 1);
    a.banners = Rect::new(0, 1, width, banners);
    a.footer = Rect::new(0, height - 1, width, 1);
    let body = Rect::new(0, 1 + banners, width, height - 2 - banners);

    if width < SIDE_FROM {
        small(&mut a, body, focus, zoomed, pictures);
    } else if zoomed {
        a.main_box = body;
        match focus {
            Pane::Jobs => jobs(&mut a, inside(body)),
            Pane::Detail => details(&mut a, inside(body), pictures),
            Pane::Server => side(&mut a, inside(body)),
        }
    } else {
        let side_width = if width >= 160 { 36 } else { 26 };
        a.main_box = Rect { width: width - side_width, ..body };
        a.side_box = Rect { x: width - side_width, width: side_width, ..body };
        let main = inside(a.main_box);
        if height >= DETAIL_FROM {
            let tall = if pictures.is_some() { main.height * 3 / 5 } else { (main.height * 2 / 5).clamp(8, 20) };
            let divider = main.bottom() - tall - 1;
            a.main_divider = Some(divider);
            details(&mut a, Rect { y: divider + 1, height: tall, ..main }, pictures);
            jobs(&mut a, Rect { height: divider - main.y, ..main });
        } else {
            a.detail_line = Rect { y: main.bottom() - 1, height: 1, ..main };
            let tall = under(&mut a, main, 1, pictures.is_some());
            a.main_divider = Some(main.bottom() - 2 - tall);
            jobs(&mut a, Rect { height: main.height - 2 - tall, ..main });
        }
        let inner = inside(a.side_box);
        side(&mut a, inner);
    }
    a
}

/// Where the ranking lies, over everything but the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RankingAreas {
    pub frame: Rect,
    /// Titles of the columns, and attempts.
    pub head: Rect,
    pub rows: Rect,
    /// What is said of the one under the cursor.
    pub about: Rect,
    /// Its pictures, where they are wanted and there is room.
    pub pictures: Rect,
}

/// Places the ranking of `count` attempts. With pictures it takes the whole height, and the list a third of that at most.
pub fn ranking(width: u16, height: u16, count: u16, pictures: bool) -> RankingAreas {
    /// The edges; the titles and what is said of one.
    const EDGES: u16 = 2;
    const TOLD: u16 = 1 + 3;
    let (wide, most) = (width.min(120), height.saturating_sub(1));
    let around = EDGES + TOLD;
    let list = if pictures { count.min((most.saturating_sub(around) / 3).max(2)) } else { count };
    let shown = most.saturating_sub(around + list);
    let pictures = pictures && shown >= PICTURES_FROM.1 && wide >= PICTURES_FROM.0 + EDGES;
    let list = if pictures { list } else { count };
    let tall = if pictures { most } else { list.saturating_add(around).min(most) };
    let frame = Rect { x: (width - wide) / 2, y: (most - tall) / 2, width: wide, height: tall };
    let inner = inside(frame);
    let part = |y: u16, height: u16| Rect { y: inner.y + y, height, ..inner }.intersection(inner);
    let list = list.min(tall.saturating_sub(around));
    RankingAreas {
        frame,
        head: part(0, 1),
        rows: part(1, list),
        about: part(1 + list, 3),
        pictures: if pictures { part(TOLD + list, shown) } else { Rect::ZERO },
    }
}

/// No boxes: every cell is needed.
fn small(a: &mut Areas, body: Rect, focus: Pane, zoomed: bool, pictures: Option<Wide<'_>>) {
    match focus {
        Pane::Detail => details(a, Rect { x: 1, width: body.width - 2, ..body }, pictures),
        Pane::Server => side(a, Rect { x: 1, y: body.y + 1, width: body.width - 2, height: body.height - 1 }),
        Pane::Jobs => {
            let mut body = body;
            if body.height >= 8 && !zoomed {
                a.vram_line = Rect { height: 1, ..body };
                body.y += 1;
                body.height -= 1;
                let tall = if body.height >= DETAIL_FROM { body.height * 2 / 5 } else { 1 };
                let below = Rect { x: 1, y: body.bottom() - tall, width: body.width - 2, height: tall };
                if tall == 1 {
                    a.detail_line = below;
                    body.height -= under(a, body, 1, pictures.is_some());
                } else {
                    details(a, below, pictures);
                }
                body.height -= tall;
            }
            jobs(a, body);
        }
    }
}

/// Details, and pictures beside them, or under them where the screen is narrow.
fn details(a: &mut Areas, area: Rect, pictures: Option<Wide<'_>>) {
    a.detail = area;
    let Some(usable) = pictures else { return };
    let wide = area.width >= 60;
    let (width, height) = if wide {
        let most = (area.width * 3 / 5).min(area.width.saturating_sub(TEXT + 1)).max(PICTURES_FROM.0);
        // What they can't use is the text's.
        (usable(Rect { width: most, ..area }).clamp(PICTURES_FROM.0, most), area.height)
    } else {
        (area.width, area.height / 2)
    };
    if width < PICTURES_FROM.0 || height < PICTURES_FROM.1 {
        return;
    }
    a.pictures = Rect { x: area.right() - width, y: area.bottom() - height, width, height };
    if wide {
        // The title's line is over both.
        a.detail.width -= width + 1;
    } else {
        a.detail.height -= height;
    }
}

/// Pictures under the list, above `below` lines; their height.
fn under(a: &mut Areas, area: Rect, below: u16, pictures: bool) -> u16 {
    let height = area.height * 3 / 5;
    if !pictures || height < PICTURES_FROM.1 || area.width < PICTURES_FROM.0 {
        return 0;
    }
    let width = area.width.saturating_sub(2);
    a.pictures = Rect { x: area.x + 1, y: area.bottom() - below - height, width, height };
    height
}

fn jobs(a: &mut Areas, area: Rect) {
    a.jobs_head = Rect { height: 1.min(area.height), ..area };
    a.jobs = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
}

fn side(a: &mut Areas, area: Rect) {
    let vram = if area.height >= 30 {
        16
    } else if area.height >= 20 {
        12
    } else {
        area.height.saturating_sub(1) / 2
    };
    a.vram = Rect { height: vram, ..area };
    a.side_divider = Some(area.y + vram);
    a.server = Rect { y: area.y + vram + 1, height: area.height.saturating_sub(vram + 1), ..area };
}

fn inside(outer: Rect) -> Rect {
    Rect {
        x: outer.x + 1,
        y: outer.y + 1,
        width: outer.width.saturating_sub(2),
        height: outer.height.saturating_sub(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rankings_parts_lie_within_it_and_apart() {
        for (width, height) in (0..=150).flat_map(|w| (0..=60).map(move |h| (w, h))) {
            for (count, pictures) in [(1, false), (3, true), (200, true), (200, false)] {
                let RankingAreas { frame, head, rows, about, pictures: shown } =
                    ranking(width, height, count, pictures);
                assert_eq!(frame.intersection(Rect::new(0, 0, width, height)), frame);
                assert!(pictures || shown.is_empty());
                let parts = [head, rows, about, shown];
                for (i, one) in parts.iter().enumerate() {
                    assert!(one.is_empty() || inside(frame).intersection(*one) == *one, "{width}x{height}: {one:?}");
                    let rest = &parts[i + 1..];
                    assert!(
                        rest.iter().all(|other| one.intersection(*other).is_empty()),
                        "{width}x{height}: {parts:?}"
                    );
                }
            }
        }
        assert!(ranking(120, 40, 4, true).pictures.height > 20, "they are what it is opened for");
    }

    #[test]
    fn everything_lies_within_the_screen_and_apart_at_every_size() {
        for (width, height) in (0..=210).flat_map(|w| (0..=70).map(move |h| (w, h))) {
            for focus in [Pane::Jobs, Pane::Detail, Pane::Server] {
                let cases = [(false, 0, false), (false, 2, false), (true, 1, false), (false, 1, true), (true, 0, true)];
                for (zoomed, banners, pictures) in cases {
                    let wide = |place: Rect| if banners == 1 { place.width } else { 3 };
                    let a = areas(width, height, banners, focus, zoomed, pictures.then_some(&wide as Wide<'_>));
                    assert!(pictures || a.pictures.is_empty());
                    let screen = Rect::new(0, 0, width, height);
                    let panes = [
                        a.line,
                        a.header,
                        a.banners,
                        a.vram_line,
                        a.jobs_head,
                        a.jobs,
                        a.detail,
                        a.detail_line,
                        a.pictures,
                        a.vram,
                        a.server,
                        a.footer,
                    ];
                    for (i, one) in panes.iter().enumerate() {
                        assert!(
                            one.is_empty() || screen.intersection(*one) == *one,
                            "{width}x{height} {focus:?}: {one:?}"
                        );
                        for other in &panes[i + 1..] {
                            assert!(
                                one.intersection(*other).is_empty(),
                                "{width}x{height} {focus:?}: {one:?} over {other:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
