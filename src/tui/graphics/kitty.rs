//! Kitty's graphics protocol, by placeholders: a picture is sent once under a number, and cells with that number for a
//! colour stand for its parts. So it lies in the text: it goes where the text goes, through tmux as well.
//!
//! <https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders>

use std::fmt::Write as _;

use ratatui::layout::Rect;
use ratatui::style::Color;

use super::{base64, png};
use crate::tui::raster::Raster;

/// The character that stands for a part of a picture.
const PLACEHOLDER: char = '\u{10eeee}';
/// Bytes of a chunk before base64, at most: 4096 letters after it.
const CHUNK: usize = 3072;

/// The number of the picture in a slot: one that is a colour of the 256, and unlikely to be another program's.
pub fn id(slot: usize) -> u8 {
    u8::try_from(201 + slot % 48).unwrap_or(u8::MAX)
}

/// What a cell holds that shows one cell's part of a picture; none where the picture has too many.
pub fn cell(slot: usize, column: u16, row: u16) -> Option<(String, Color)> {
    let mark = |n: u16| MARKS.get(usize::from(n));
    let symbol = [PLACEHOLDER, *mark(row)?, *mark(column)?].iter().collect();
    Some((symbol, Color::Indexed(id(slot))))
}

/// A picture sent as PNG, to be shown in so many cells, about `unit` bytes in one.
pub fn units(raster: &Raster, area: Rect, id: u8, tmux: bool, unit: usize) -> Vec<Vec<u8>> {
    let file = png(raster);
    // Whole threes of bytes: only the last chunk may end with padding.
    let chunk = (unit / 4 * 3).clamp(3, CHUNK);
    let chunks = file.chunks(chunk);
    let count = chunks.len();
    let one = |(n, bytes): (usize, &[u8])| {
        let mut keys = String::from("q=2");
        if n == 0 {
            let _ = write!(keys, ",a=T,U=1,i={id},f=100,t=d,c={},r={}", area.width, area.height);
        }
        let _ = write!(keys, ",m={}", u8::from(n + 1 < count));
        command(&keys, &base64(bytes), tmux)
    };
    chunks.enumerate().map(one).collect()
}

/// Ends a picture of which only the first units were written.
pub fn cut_short(tmux: bool) -> Vec<u8> {
    command("q=2,m=0", "", tmux)
}

/// Frees a picture's memory in the terminal.
pub fn forget(id: u8, tmux: bool) -> Vec<u8> {
    command(&format!("q=2,a=d,d=I,i={id}"), "", tmux)
}

fn command(keys: &str, data: &str, tmux: bool) -> Vec<u8> {
    let escape = format!("\x1b_G{keys};{data}\x1b\\");
    if tmux { wrapped(&escape) } else { escape }.into_bytes()
}

/// For the terminal behind tmux.
pub fn wrapped(escape: &str) -> String {
    format!("\x1bPtmux;{}\x1b\\", escape.replace('\x1b', "\x1b\x1b"))
}

/// Marks that count rows and columns, from 0: the beginning of kitty's `rowcolumn-diacritics.txt`. No picture here has
/// more cells.
#[rustfmt::skip]
static MARKS: [char; 200] = [
    '\u{305}', '\u{30d}', '\u{30e}', '\u{310}', '\u{312}', '\u{33d}', '\u{33e}', '\u{33f}', '\u{346}', '\u{34a}',
    '\u{34b}', '\u{34c}', '\u{350}', '\u{351}', '\u{352}', '\u{357}', '\u{35b}', '\u{363}', '\u{364}', '\u{365}',
    '\u{366}', '\u{367}', '\u{368}', '\u{369}', '\u{36a}', '\u{36b}', '\u{36c}', '\u{36d}', '\u{36e}', '\u{36f}',
    '\u{483}', '\u{484}', '\u{485}', '\u{486}', '\u{487}', '\u{592}', '\u{593}', '\u{594}', '\u{595}', '\u{597}',
    '\u{598}', '\u{599}', '\u{59c}', '\u{59d}', '\u{59e}', '\u{59f}', '\u{5a0}', '\u{5a1}', '\u{5a8}', '\u{5a9}',
    '\u{5ab}', '\u{5ac}', '\u{5af}', '\u{5c4}', '\u{610}', '\u{611}', '\u{612}', '\u{613}', '\u{614}', '\u{615}',
    '\u{616}', '\u{617}', '\u{657}', '\u{658}', '\u{659}', '\u{65a}', '\u{65b}', '\u{65d}', '\u{65e}', '\u{6d6}',
    '\u{6d7}', '\u{6d8}', '\u{6d9}', '\u{6da}', '\u{6db}', '\u{6dc}', '\u{6df}', '\u{6e0}', '\u{6e1}', '\u{6e2}',
    '\u{6e4}', '\u{6e7}', '\u{6e8}', '\u{6eb}', '\u{6ec}', '\u{730}', '\u{732}', '\u{733}', '\u{735}', '\u{736}',
    '\u{73a}', '\u{73d}', '\u{73f}', '\u{740}', '\u{741}', '\u{743}', '\u{745}', '\u{747}', '\u{749}', '\u{74a}',
    '\u{7eb}', '\u{7ec}', '\u{7ed}', '\u{7ee}', '\u{7ef}', '\u{7f0}', '\u{7f1}', '\u{7f3}', '\u{816}', '\u{817}',
    '\u{818}', '\u{819}', '\u{81b}', '\u{81c}', '\u{81d}', '\u{81e}', '\u{81f}', '\u{820}', '\u{821}', '\u{822}',
    '\u{823}', '\u{825}', '\u{826}', '\u{827}', '\u{829}', '\u{82a}', '\u{82b}', '\u{82c}', '\u{82d}', '\u{951}',
    '\u{953}', '\u{954}', '\u{f82}', '\u{f83}', '\u{f86}', '\u{f87}', '\u{135d}', '\u{135e}', '\u{135f}', '\u{17dd}',
    '\u{193a}', '\u{1a17}', '\u{1a75}', '\u{1a76}', '\u{1a77}', '\u{1a78}', '\u{1a79}', '\u{1a7a}', '\u{1a7b}', '\u{1a7c}',
    '\u{1b6b}', '\u{1b6d}', '\u{1b6e}', '\u{1b6f}', '\u{1b70}', '\u{1b71}', '\u{1b72}', '\u{1b73}', '\u{1cd0}', '\u{1cd1}',
    '\u{1cd2}', '\u{1cda}', '\u{1cdb}', '\u{1ce0}', '\u{1dc0}', '\u{1dc1}', '\u{1dc3}', '\u{1dc4}', '\u{1dc5}', '\u{1dc6}',
    '\u{1dc7}', '\u{1dc8}', '\u{1dc9}', '\u{1dcb}', '\u{1dcc}', '\u{1dd1}', '\u{1dd2}', '\u{1dd3}', '\u{1dd4}', '\u{1dd5}',
    '\u{1dd6}', '\u{1dd7}', '\u{1dd8}', '\u{1dd9}', '\u{1dda}', '\u{1ddb}', '\u{1ddc}', '\u{1ddd}', '\u{1dde}', '\u{1ddf}',
    '\u{1de0}', '\u{1de1}', '\u{1de2}', '\u{1de3}', '\u{1de4}', '\u{1de5}', '\u{1de6}', '\u{1dfe}', '\u{20d0}', '\u{20d1}',
];

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn a_picture_is_sent_in_chunks_of_which_the_last_says_so() {
        let units = units(&noise(60, 60), Rect::new(0, 0, 12, 6), id(1), false, 4096);
        let words: Vec<_> = units.iter().map(|unit| std::str::from_utf8(unit).unwrap()).collect();
        assert!(words.len() > 2);
        assert!(words[0].starts_with("\x1b_Gq=2,a=T,U=1,i=202,f=100,t=d,c=12,r=6,m=1;iVBOR"), "{}", words[0]);
        assert!(words[1].starts_with("\x1b_Gq=2,m=1;"));
        assert!(words.last().unwrap().starts_with("\x1b_Gq=2,m=0;"));
        assert!(words.iter().all(|word| word.ends_with("\x1b\\") && word.len() < 4096 + 64));
        // The same in smaller ones.
        let data = |units: &[Vec<u8>]| -> String {
            let words = units.iter().map(|unit| std::str::from_utf8(unit).unwrap());
            words.map(|word| word.split_once(';').unwrap().1.trim_end_matches("\x1b\\")).collect()
        };
        let small = super::units(&noise(60, 60), Rect::new(0, 0, 12, 6), id(1), false, 1000);
        assert!(small.iter().all(|unit| unit.len() < 1000 + 64));
        assert_eq!(data(&small), data(&units));
    }

    #[test]
    fn through_tmux_every_escape_is_doubled() {
        assert_eq!(forget(201, true), b"\x1bPtmux;\x1b\x1b_Gq=2,a=d,d=I,i=201;\x1b\x1b\\\x1b\\");
    }

    #[test]
    fn a_cell_says_its_row_and_column_and_is_one_cell_wide() {
        let (symbol, color) = cell(0, 1, 0).unwrap();
        assert_eq!((symbol.as_str(), color), ("\u{10eeee}\u{305}\u{30d}", Color::Indexed(201)));
        assert_eq!(crate::tui::canvas::width(&symbol), 1);
        assert!(cell(0, 500, 0).is_none());
        let ids: std::collections::HashSet<_> = (0..48).map(id).collect();
        assert_eq!(ids.len(), 48, "each picture on the screen has its own");
    }
}
