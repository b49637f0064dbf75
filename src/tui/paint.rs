//! From one picture to the next in as few bytes as a terminal understands.
//!
//! Pure: pictures in, bytes out. ratatui's own terminal writes 25 bytes for a picture that is the
//! same, and names row, column and both colours with each change; here nothing changed is nothing
//! written, the pen and the cursor are remembered across frames, and moves are relative.

use std::io::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::canvas;

/// What the terminal shows, and how its pen stands.
#[derive(Debug)]
pub struct Painter {
    shown: Buffer,
    next: Buffer,
    pen: Pen,
    /// Where the terminal's cursor is, column and row, where we know.
    at: Option<(u16, u16)>,
    /// The terminal's picture is unknown.
    lost: bool,
}

/// Cells that lead somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hyperlink {
    pub area: Rect,
    /// Plain ASCII without control characters.
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pen {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

impl Pen {
    /// Blanks look the same with either.
    fn same_blank(self, other: Self) -> bool {
        let seen = Modifier::REVERSED | Modifier::UNDERLINED;
        self.bg == other.bg && !(self.modifier | other.modifier).intersects(seen)
    }
}

impl From<Style> for Pen {
    fn from(style: Style) -> Self {
        Self { fg: style.fg.unwrap_or_default(), bg: style.bg.unwrap_or_default(), modifier: style.add_modifier }
    }
}

impl Painter {
    /// For a screen of `width` x `height` cells, about which nothing is known.
    pub fn new(width: u16, height: u16) -> Self {
        let area = Rect::new(0, 0, width, height);
        Self { shown: Buffer::empty(area), next: Buffer::empty(area), pen: Pen::default(), at: None, lost: true }
    }

    /// The screen has another size now; its picture is unknown.
    pub fn resize(&mut self, width: u16, height: u16) {
        *self = Self::new(width, height);
    }

    /// Something else wrote to the screen: the next frame paints all of it.
    pub fn forget(&mut self) {
        self.lost = true;
    }

    /// Something else wrote over these cells: the next frame writes them anew.
    pub fn damage(&mut self, area: Rect) {
        for at in area.intersection(self.shown.area).positions() {
            if let Some(cell) = self.shown.cell_mut(at) {
                // Nothing that is ever drawn.
                cell.set_symbol("\u{fffd}").set_fg(Color::Indexed(1)).set_bg(Color::Indexed(2));
            }
        }
    }

    /// Something else moved the cursor.
    pub fn lose_place(&mut self) {
        self.at = None;
    }

    /// The next frame paints everything.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The bytes that make the screen show what `draw` draws into an empty buffer; none where it already does.
    pub fn frame(&mut self, draw: impl FnOnce(&mut Buffer)) -> Vec<u8> {
        self.linked_frame(&[], draw)
    }

    /// The same, with links (OSC 8) on some cells. A link that changes while its words stay is written with the next
    /// change of these.
    pub fn linked_frame(&mut self, links: &[Hyperlink], draw: impl FnOnce(&mut Buffer)) -> Vec<u8> {
        let mut out = Vec::new();
        self.next.reset();
        draw(&mut self.next);
        if self.lost {
            out.extend_from_slice(b"\x1b[m\x1b[2J");
            self.shown.reset();
            (self.pen, self.at, self.lost) = (Pen::default(), None, false);
        }
        let area = self.next.area;
        let changed = self.changed();
        let mut rest = changed.as_slice();
        let mut linked = None;
        while let [(x, y), others @ ..] = rest {
            let (x, y) = (*x, *y);
            rest = others;
            let Some(cell) = self.next.cell((x, y)) else { continue };
            let link = links.iter().find(|link| link.area.contains((x, y).into()));
            if link != linked {
                // Cells between here and there are of another link, or none: no writing over them.
                self.at = None;
                let _ = write!(out, "\x1b]8;;{}\x1b\\", link.map_or("", |link| &link.url));
                linked = link;
            }
            // What is written over must not lose the link that it has.
            let from = self.at.map_or(x, |(from, _)| from);
            let mut other_links = links.iter().filter(|other| Some(*other) != link && other.area.y == y);
            let between = |other: &Hyperlink| other.area.x < x && other.area.right() > from;
            if other_links.any(between) || !self.write_over(&mut out, (x, y)) {
                go(&mut out, self.at, (x, y));
            }
            let pen = Pen::from(cell.style());
            if !(is_blank(cell) && pen.same_blank(self.pen)) {
                turn(&mut out, self.pen, pen);
                self.pen = pen;
            }
            // Terminals differ on the colour of what is erased, but for the default one.
            if is_blank(cell) && self.pen.bg == Color::Reset {
                let end = self.blanks_from((x, y));
                let in_run = others.iter().take_while(|(ox, oy)| *oy == y && *ox < end).count();
                let last = in_run.checked_sub(1).and_then(|i| others.get(i)).map_or(x, |(ox, _)| *ox);
                if last - x + 1 >= ERASED {
                    let _ = write!(out, "\x1b[{}X", last - x + 1);
                    self.at = Some((x, y));
                    rest = others.get(in_run..).unwrap_or_default();
                    continue;
                }
            }
            out.extend_from_slice(cell.symbol().as_bytes());
            // At the right edge terminals differ on where the cursor is; after anything but a
            // plain narrow character they may differ on how wide it was.
            let narrow = canvas::width(cell.symbol()) == 1;
            self.at = (narrow && x + 1 < area.width).then_some((x + 1, y));
        }
        if linked.is_some() {
            out.extend_from_slice(b"\x1b]8;;\x1b\\");
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        out
    }

    /// The cells to write, row by row. Where half of a wide character is written over, its other half is blanked by
    /// the terminal in colours of its own choice, so that is written as well.
    fn changed(&self) -> Vec<(u16, u16)> {
        let mut changed: Vec<(u16, u16)> = Vec::new();
        for (x, y, cell) in self.shown.diff(&self.next) {
            if changed.last() != Some(&(x, y)) {
                changed.push((x, y));
            }
            let after = x.saturating_add(canvas::cells(cell.symbol()).max(1));
            let was = after.checked_sub(1).and_then(|last| self.shown.cell((last, y)));
            if after < self.next.area.width && was.is_some_and(|was| canvas::width(was.symbol()) > 1) {
                changed.push((after, y));
            }
        }
        changed
    }

    /// Gets to a cell a little further right by writing what stands between, where that is no longer than a move.
    fn write_over(&self, out: &mut Vec<u8>, (x, y): (u16, u16)) -> bool {
        let Some((from, _)) = self.at.filter(|(from, row)| *row == y && *from < x && x - from <= MOVE) else {
            return false;
        };
        let as_the_pen_writes = |cell: &&Cell| {
            let pen = Pen::from(cell.style());
            cell.symbol().len() == 1 && (pen == self.pen || is_blank(cell) && pen.same_blank(self.pen))
        };
        let between: Vec<_> = (from..x).filter_map(|x| self.next.cell((x, y))).filter(as_the_pen_writes).collect();
        if between.len() < usize::from(x - from) {
            return false;
        }
        for cell in between {
            out.extend_from_slice(cell.symbol().as_bytes());
        }
        true
    }

    /// The column after the blanks that begin here and look as the pen would write them.
    fn blanks_from(&self, (x, y): (u16, u16)) -> u16 {
        let blank = |x: &u16| {
            self.next.cell((*x, y)).is_some_and(|cell| is_blank(cell) && Pen::from(cell.style()).same_blank(self.pen))
        };
        (x..self.next.area.width).take_while(blank).last().map_or(x, |last| last + 1)
    }
}

/// Bytes of the shortest move.
const MOVE: u16 = 3;
/// Blanks from which on erasing them, and moving past them, is shorter than writing them.
const ERASED: u16 = 10;

fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " "
}

/// Moves the cursor, relatively where that is shorter.
fn go(out: &mut Vec<u8>, from: Option<(u16, u16)>, (x, y): (u16, u16)) {
    let _ = match from {
        Some(at) if at == (x, y) => Ok(()),
        Some((fx, fy)) if fy == y && x > fx => match x - fx {
            1 => out.write_all(b"\x1b[C"),
            n => write!(out, "\x1b[{n}C"),
        },
        Some((_, fy)) if fy == y => write!(out, "\x1b[{}G", x + 1),
        Some((_, fy)) if y == fy + 1 && x == 0 => out.write_all(b"\r\n"),
        _ => write!(out, "\x1b[{};{}H", y + 1, x + 1),
    };
}

/// Changes the pen.
fn turn(out: &mut Vec<u8>, from: Pen, to: Pen) {
    if from == to {
        return;
    }
    if to == Pen::default() {
        out.extend_from_slice(b"\x1b[m");
        return;
    }
    let mut codes: Vec<u16> = Vec::new();
    let mut from = from;
    if !(from.modifier - to.modifier).is_empty() {
        codes.push(0);
        from = Pen::default();
    }
    let added = to.modifier - from.modifier;
    for (modifier, code) in [
        (Modifier::BOLD, 1),
        (Modifier::DIM, 2),
        (Modifier::ITALIC, 3),
        (Modifier::UNDERLINED, 4),
        (Modifier::REVERSED, 7),
    ] {
        if added.contains(modifier) {
            codes.push(code);
        }
    }
    if from.fg != to.fg {
        color(&mut codes, to.fg, 30);
    }
    if from.bg != to.bg {
        color(&mut codes, to.bg, 40);
    }
    let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
    out.extend_from_slice(format!("\x1b[{}m", codes.join(";")).as_bytes());
}

/// The codes of a colour; `base` 30 for the text, 40 for what is behind it.
fn color(codes: &mut Vec<u16>, color: Color, base: u16) {
    let dark = match color {
        Color::Reset => {
            codes.push(base + 9);
            return;
        }
        Color::Rgb(r, g, b) => {
            codes.extend([base + 8, 2, r.into(), g.into(), b.into()]);
            return;
        }
        Color::Indexed(n) => {
            codes.extend([base + 8, 5, n.into()]);
            return;
        }
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
    };
    codes.push(base + dark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(painter: &mut Painter, x: u16, words: &str, style: Style) -> String {
        String::from_utf8(painter.frame(|buf| {
            canvas::text(buf, x, 0, 40, words, style);
        }))
        .expect("symbols and escapes are UTF-8")
    }

    #[test]
    fn the_same_picture_writes_nothing() {
        let mut painter = Painter::new(20, 2);
        assert!(!text(&mut painter, 0, "hello", Style::new()).is_empty());
        assert_eq!(text(&mut painter, 0, "hello", Style::new()), "");
    }

    #[test]
    fn only_what_changed_is_written_and_moves_are_short() {
        let mut painter = Painter::new(20, 2);
        text(&mut painter, 0, "0:41 12 %", Style::new());
        assert_eq!(text(&mut painter, 0, "0:42 12 %", Style::new()), "\x1b[6D2".replace("\x1b[6D", "\x1b[4G"));
        assert_eq!(text(&mut painter, 0, "0:42 13 %", Style::new()), " 13");
    }

    #[test]
    fn the_pen_is_kept_from_frame_to_frame() {
        let mut painter = Painter::new(20, 1);
        let red = Style::new().fg(Color::Red);
        assert_eq!(text(&mut painter, 0, "ab", red), "\x1b[m\x1b[2J\x1b[1;1H\x1b[31mab");
        assert_eq!(text(&mut painter, 0, "abc", red), "c");
        assert_eq!(text(&mut painter, 0, "abcd", red.add_modifier(Modifier::BOLD)), "\x1b[1G\x1b[1mabcd");
    }

    #[test]
    fn a_word_that_goes_is_erased_not_written_over() {
        let mut painter = Painter::new(40, 1);
        text(&mut painter, 0, "all that was here, but a b", Style::new());
        assert_eq!(text(&mut painter, 25, "b", Style::new()), "\x1b[1G\x1b[24X");
    }

    #[test]
    fn a_single_letter_that_stays_is_written_rather_than_jumped() {
        let mut painter = Painter::new(20, 1);
        text(&mut painter, 0, "ab cd", Style::new());
        assert_eq!(text(&mut painter, 0, "xy zw", Style::new()), "\x1b[1Gxy zw");
    }

    #[test]
    fn links_are_opened_and_closed_round_their_cells() {
        let mut painter = Painter::new(40, 1);
        let link = Hyperlink { area: Rect::new(3, 0, 5, 1), url: "file://host/a.mp4".to_owned() };
        let mut frame = |words: &str| {
            let frame = painter.linked_frame(std::slice::from_ref(&link), |buf| {
                canvas::text(buf, 0, 0, 40, words, Style::new());
            });
            String::from_utf8(frame).expect("UTF-8")
        };
        let (open, close) = ("\x1b]8;;file://host/a.mp4\x1b\\", "\x1b]8;;\x1b\\");
        let whole = format!("\x1b[m\x1b[2J\x1b[1;1Hto{open}\x1b[1;4Ha.mp4{close}\x1b[1;10Hnow");
        assert_eq!(frame("to a.mp4 now"), whole);
        assert_eq!(frame("to a.mp4 now"), "");
        assert_eq!(frame("to b.mp4 now"), format!("{open}\x1b[1;4Hb{close}"));
    }

    #[test]
    fn a_link_is_not_written_over_in_passing() {
        let mut painter = Painter::new(40, 1);
        let link = Hyperlink { area: Rect::new(3, 0, 1, 1), url: "file:///a".to_owned() };
        let mut frame = |words: &str| {
            painter.linked_frame(std::slice::from_ref(&link), |buf| {
                canvas::text(buf, 0, 0, 40, words, Style::new());
            })
        };
        frame("abcdef");
        assert!(frame("abXdYf").ends_with(b"X\x1b[CY"));
    }

    #[test]
    fn cells_that_were_written_over_are_written_anew() {
        let mut painter = Painter::new(40, 1);
        text(&mut painter, 0, "ab cd", Style::new());
        painter.damage(Rect::new(1, 0, 3, 9));
        painter.lose_place();
        assert_eq!(text(&mut painter, 0, "ab cd", Style::new()), "\x1b[1;2Hb c");
        assert_eq!(text(&mut painter, 0, "ab cd", Style::new()), "");
    }

    #[cfg(unix)]
    fn parser() -> vt100::Parser {
        let cells = |n| std::num::NonZero::new(n).expect("not zero");
        vt100::Parser::new(cells(4), cells(40), 0)
    }

    /// What a terminal shows after these bytes, cell by cell: what can be seen of them.
    #[cfg(unix)]
    fn seen(screen: &vt100::Screen) -> Vec<String> {
        let (rows, columns) = screen.size();
        let cells = (0..rows.get()).flat_map(|y| (0..columns.get()).map(move |x| (y, x)));
        cells
            .map(|(y, x)| {
                let cell = screen.cell(y, x).expect("inside");
                let back = (cell.bgcolor(), cell.inverse(), cell.underline());
                match cell.contents() {
                    "" | " " if !cell.inverse() => format!("blank {back:?}"),
                    letters => format!("{letters} {back:?} {:?} {} {}", cell.fgcolor(), cell.bold(), cell.dim()),
                }
            })
            .collect()
    }

    #[cfg(unix)]
    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        /// However it was reached, a picture looks as if it had been painted on an empty screen.
        #[test]
        fn a_terminal_shows_the_picture(
            frames in proptest::collection::vec(
                proptest::collection::vec((0_u16..40, 0_u16..4, "[a-c 歩─]{0,24}", 0_usize..6), 0..10),
                1..6,
            ),
        ) {
            let styles = [
                Style::new(),
                Style::new().fg(Color::Red),
                Style::new().add_modifier(Modifier::BOLD),
                Style::new().add_modifier(Modifier::REVERSED),
                Style::new().bg(Color::Blue),
                Style::new().add_modifier(Modifier::UNDERLINED),
            ];
            let mut painter = Painter::new(40, 4);
            let mut terminal = parser();
            for frame in &frames {
                let draw = |buf: &mut Buffer| {
                    for (x, y, words, style) in frame {
                        canvas::text(buf, *x, *y, 40 - x, words, styles[*style]);
                    }
                };
                terminal.process(&painter.frame(draw));
                let mut fresh = parser();
                fresh.process(&Painter::new(40, 4).frame(draw));
                let differs: Vec<_> = std::iter::zip(seen(terminal.screen()), seen(fresh.screen()))
                    .enumerate()
                    .filter(|(_, (got, wanted))| got != wanted)
                    .collect();
                proptest::prop_assert!(differs.is_empty(), "cell, got and wanted: {differs:?}");
            }
        }
    }

    #[test]
    fn after_a_wide_character_the_place_is_said_again() {
        let mut painter = Painter::new(20, 1);
        assert_eq!(text(&mut painter, 0, "歩a", Style::new()), "\x1b[m\x1b[2J\x1b[1;1H歩\x1b[1;3Ha");
    }
}
