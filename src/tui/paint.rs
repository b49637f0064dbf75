//! From one picture to the next in as few bytes as a terminal understands.
//!
//! Pure: pictures in, bytes out. ratatui's own terminal writes 25 bytes for a picture that is the
//! same, and names row, column and both colours with each change; here nothing changed is nothing
//! written, the pen and the cursor are remembered across frames, and moves are relative.

use std::io::Write as _;

use ratatui::buffer::Buffer;
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

    /// The next frame paints everything.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The bytes that make the screen show what `draw` draws into an empty buffer; none where it already does.
    pub fn frame(&mut self, draw: impl FnOnce(&mut Buffer)) -> Vec<u8> {
        let mut out = Vec::new();
        self.next.reset();
        draw(&mut self.next);
        if self.lost {
            out.extend_from_slice(b"\x1b[m\x1b[2J");
            self.shown.reset();
            (self.pen, self.at, self.lost) = (Pen::default(), None, false);
        }
        let area = self.next.area;
        for (x, y, cell) in self.shown.diff(&self.next) {
            go(&mut out, self.at, (x, y));
            let pen = Pen::from(cell.style());
            if !(cell.symbol() == " " && pen.same_blank(self.pen)) {
                turn(&mut out, self.pen, pen);
                self.pen = pen;
            }
            out.extend_from_slice(cell.symbol().as_bytes());
            // At the right edge terminals differ on where the cursor is; after anything but a
            // plain narrow character they may differ on how wide it was.
            let narrow = canvas::width(cell.symbol()) == 1;
            self.at = (narrow && x + 1 < area.width).then_some((x + 1, y));
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        out
    }
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
        assert_eq!(text(&mut painter, 0, "0:42 13 %", Style::new()), "\x1b[2C3");
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
    fn after_a_wide_character_the_place_is_said_again() {
        let mut painter = Painter::new(20, 1);
        assert_eq!(text(&mut painter, 0, "歩a", Style::new()), "\x1b[m\x1b[2J\x1b[1;1H歩\x1b[1;3Ha");
    }
}
