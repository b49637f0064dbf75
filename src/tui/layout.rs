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
    pub vram: Rect,
    pub server: Rect,
    pub footer: Rect,
}

/// From this size on there are boxes, and a side panel.
const SIDE_FROM: u16 = 100;
/// From this height on the details have a pane of their own.
const DETAIL_FROM: u16 = 28;

/// Places all panes. `banners`: lines wanted under the header.
pub fn areas(width: u16, height: u16, banners: u16, focus: Pane, zoomed: bool) -> Areas {
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
        small(&mut a, body, focus, zoomed);
    } else if zoomed {
        a.main_box = body;
        match focus {
            Pane::Jobs => jobs(&mut a, inside(body)),
            Pane::Detail => a.detail = inside(body),
            Pane::Server => side(&mut a, inside(body)),
        }
    } else {
        let side_width = if width >= 160 { 36 } else { 26 };
        a.main_box = Rect { width: width - side_width, ..body };
        a.side_box = Rect { x: width - side_width, width: side_width, ..body };
        let main = inside(a.main_box);
        if height >= DETAIL_FROM {
            let tall = (main.height * 2 / 5).clamp(8, 20);
            let divider = main.bottom() - tall - 1;
            a.main_divider = Some(divider);
            a.detail = Rect { y: divider + 1, height: tall, ..main };
            jobs(&mut a, Rect { height: divider - main.y, ..main });
        } else {
            a.detail_line = Rect { y: main.bottom() - 1, height: 1, ..main };
            a.main_divider = Some(main.bottom() - 2);
            jobs(&mut a, Rect { height: main.height - 2, ..main });
        }
        let inner = inside(a.side_box);
        side(&mut a, inner);
    }
    a
}

/// No boxes: every cell is needed.
fn small(a: &mut Areas, body: Rect, focus: Pane, zoomed: bool) {
    match focus {
        Pane::Detail => a.detail = Rect { x: 1, width: body.width - 2, ..body },
        Pane::Server => side(a, Rect { x: 1, y: body.y + 1, width: body.width - 2, height: body.height - 1 }),
        Pane::Jobs => {
            let mut body = body;
            if body.height >= 8 && !zoomed {
                a.vram_line = Rect { height: 1, ..body };
                body.y += 1;
                body.height -= 1;
                let tall = if body.height >= DETAIL_FROM { body.height * 2 / 5 } else { 1 };
                let below = Rect { x: 1, y: body.bottom() - tall, width: body.width - 2, height: tall };
                *(if tall == 1 { &mut a.detail_line } else { &mut a.detail }) = below;
                body.height -= tall;
            }
            jobs(a, body);
        }
    }
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
    fn everything_lies_within_the_screen_and_apart_at_every_size() {
        for (width, height) in (0..=210).flat_map(|w| (0..=70).map(move |h| (w, h))) {
            for focus in [Pane::Jobs, Pane::Detail, Pane::Server] {
                for (zoomed, banners) in [(false, 0), (false, 2), (true, 1)] {
                    let a = areas(width, height, banners, focus, zoomed);
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
