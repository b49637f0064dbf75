//! Text into cells: clipped, cut with `…`, aligned by display width, and made safe to show.
//!
//! Pure. Every word on the screen goes through here, so nothing that a server or a file says can
//! reach the terminal with an escape sequence in it. Must never write outside the buffer.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text::clean;

/// Display width in terminal cells.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to `width` cells, with `…` for what is missing at its end.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 1;
    for part in text.graphemes(true) {
        used += part.width();
        if used > width {
            break;
        }
        out.push_str(part);
    }
    if width > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// `text` cut to `width` cells, with `…` for what is missing at its start: for names that differ at their ends.
pub fn fit_tail(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 1;
    let mut from = text.len();
    for (at, part) in text.grapheme_indices(true).rev() {
        used += part.width();
        if used > width {
            break;
        }
        from = at;
    }
    if width == 0 {
        return Cow::Borrowed("");
    }
    Cow::Owned(format!("…{}", text.get(from..).unwrap_or_default()))
}

/// As [`wrap`], `most` lines of it; what is missing is cut off at a word, with `…`.
pub fn wrap_within(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = wrap(text, width);
    if lines.len() <= most {
        return lines;
    }
    lines.truncate(most);
    if let Some(last) = lines.last_mut() {
        if last.width() + 1 > width {
            // A word as long as the line is cut within.
            let at = last.trim_end().rfind(' ').unwrap_or(0);
            let shorter = last.get(..at).filter(|rest| !rest.trim().is_empty()).map(str::to_owned);
            *last = shorter.unwrap_or_else(|| fit(&format!("{last} "), width).trim_end_matches('…').to_owned());
        }
        last.truncate(last.trim_end().len());
        last.push('…');
    }
    lines
}

/// Text broken into lines of at most `width` cells, at spaces where there are some.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut used = 0;
        let mut add = |part: &str| {
            if used > 0 && used + part.width() > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
                if part.trim().is_empty() {
                    return;
                }
            }
            line.push_str(part);
            used += part.width();
        };
        for word in unbroken(paragraph) {
            // What is longer than a line is broken where it can be, or anywhere.
            for part in if word.width() > width { word.split_word_bounds().collect() } else { vec![word] } {
                if part.width() > width { part.graphemes(true).for_each(&mut add) } else { add(part) }
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// The parts of a line that stay together, spaces too: signs go with the words beside them.
fn unbroken(line: &str) -> Vec<&str> {
    let is_word = |part: &str| part.chars().any(char::is_alphanumeric);
    let is_space = |part: &str| part.trim().is_empty();
    let bounds: Vec<(usize, &str)> = line.split_word_bound_indices().collect();
    let breaks = bounds.windows(2).filter_map(|two| {
        let [(_, before), (at, after)] = two else { return None };
        let may = is_space(before) || is_space(after) || is_word(before) && is_word(after);
        may.then_some(*at)
    });
    let ends: Vec<usize> = breaks.chain([line.len()]).collect();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).filter_map(|(start, end)| line.get(start..*end)).collect()
}

/// Writes one line of text from (x, y) on, in at most `width` cells. Returns the cells used.
pub fn text(buf: &mut Buffer, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
    let area = buf.area;
    if y < area.y || y >= area.bottom() || x < area.x || x >= area.right() {
        return 0;
    }
    let room = width.min(area.right() - x);
    let text = clean_inner(text);
    let text = fit(&text, usize::from(room));
    let (end, _) = buf.set_stringn(x, y, &text, usize::from(room), whole(style));
    end - x
}

/// A style that says everything: nothing of what stood there before shines through.
fn whole(style: Style) -> Style {
    Style::reset().patch(style)
}

/// Writes text so that it ends before column `x + width`.
pub fn right(buf: &mut Buffer, x: u16, y: u16, width: u16, words: &str, style: Style) -> u16 {
    let words = clean_inner(words);
    let wide = cells(&words).min(width);
    text(buf, x + width - wide, y, wide, &words, style)
}

/// Writes a row of differently styled words; returns the cells used.
pub fn spans(buf: &mut Buffer, x: u16, y: u16, width: u16, row: &[Span<'_>]) -> u16 {
    let mut used = 0;
    for span in row {
        used += text(buf, x + used, y, width.saturating_sub(used), &span.content, span.style);
    }
    used
}

/// Width of a row of words, in cells.
pub fn spans_width(row: &[Span<'_>]) -> u16 {
    row.iter().map(|s| cells(&s.content)).sum()
}

/// Display width as the buffer counts it.
pub fn cells(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// As [`clean`], but leading and trailing spaces (alignment) stay.
fn clean_inner(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    match clean(trimmed) {
        Cow::Borrowed(same) if same.len() == trimmed.len() => Cow::Borrowed(text),
        _ if trimmed.is_empty() => Cow::Borrowed(""),
        cleaned => {
            let lead = text.len() - text.trim_start_matches(' ').len();
            let tail = text.len() - text.trim_end_matches(' ').len();
            Cow::Owned(format!("{}{cleaned}{}", " ".repeat(lead), " ".repeat(tail)))
        }
    }
}

/// A box with rounded corners; nothing where it is too small for one.
pub fn frame(buf: &mut Buffer, area: Rect, style: Style) {
    let area = area.intersection(buf.area);
    if area.width < 2 || area.height < 2 {
        return;
    }
    let (l, r, t, b) = (area.x, area.right() - 1, area.y, area.bottom() - 1);
    for x in l + 1..r {
        put(buf, x, t, "─", style);
        put(buf, x, b, "─", style);
    }
    for y in t + 1..b {
        put(buf, l, y, "│", style);
        put(buf, r, y, "│", style);
    }
    for (x, y, corner) in [(l, t, "╭"), (r, t, "╮"), (l, b, "╰"), (r, b, "╯")] {
        put(buf, x, y, corner, style);
    }
}

/// A line across a box, joined to its sides.
pub fn divider(buf: &mut Buffer, area: Rect, y: u16, style: Style) {
    let area = area.intersection(buf.area);
    if area.width < 2 || y <= area.y || y + 1 >= area.bottom() {
        return;
    }
    put(buf, area.x, y, "├", style);
    for x in area.x + 1..area.right() - 1 {
        put(buf, x, y, "─", style);
    }
    put(buf, area.right() - 1, y, "┤", style);
}

/// One symbol into one cell.
pub fn put(buf: &mut Buffer, x: u16, y: u16, symbol: &str, style: Style) {
    if let Some(cell) = buf.cell_mut((x, y)) {
        cell.set_symbol(symbol).set_style(whole(style));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_at_a_word() {
        let words = "attempt 2 is discarded: its files lie in the folder of what is discarded";
        assert_eq!(wrap_within(words, 100, 1), [words]);
        assert_eq!(wrap_within(words, 20, 1), ["attempt 2 is…"]);
        assert_eq!(wrap_within(words, 24, 2), ["attempt 2 is discarded:", "its files lie in the…"]);
        assert_eq!(wrap_within("aaaaaaaaaaaaaaaaaaaaaaa", 10, 1), ["aaaaaaaaa…"]);
        assert!(wrap_within(words, 1, 1).iter().all(|line| width(line) <= 1));
    }

    #[test]
    fn wide_characters_are_never_cut_in_half() {
        assert_eq!(fit("歩く人", 6), "歩く人");
        assert_eq!(fit("歩く人", 5), "歩く…");
        assert_eq!(fit("歩く人", 4), "歩…");
        assert_eq!(fit("歩く人", 0), "");
        assert_eq!(fit_tail("wan2.2-i2v-loop", 10), "…-i2v-loop");
        assert_eq!(fit_tail("歩く人", 4), "…人");
    }

    #[test]
    fn words_are_wrapped_at_spaces_and_long_ones_are_broken() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("install it (Debian)", 13), ["install it", "(Debian)"]);
        assert_eq!(wrap("bold: to it · thin: to", 18), ["bold: to it ·", "thin: to"]);
        assert_eq!(wrap("in outputs/a-b.mp4", 9), ["in", "outputs/a", "-b.mp4"]);
        assert_eq!(wrap("歩く人が海辺を", 6), ["歩く人", "が海辺", "を"]);
    }

    #[test]
    fn nothing_reaches_the_buffer_with_a_control_character() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 12, 1));
        text(&mut buf, 0, 0, 12, "  a\u{1b}[2Jb", Style::new());
        assert_eq!(buf, Buffer::with_lines(["  a [2Jb    "]));
        text(&mut buf, 20, 3, 12, "outside", Style::new());
    }
}
