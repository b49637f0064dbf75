//! The two SSIM curves of a clip, drawn in dots, with its best cut.
//!
//! A pure function of what was seen. Where there is little room there is no picture.

use ratatui::text::Span;

use crate::protocol::Look;
use crate::tui::canvas;
use crate::tui::theme::{Role, Theme};

/// Rows of the picture.
const ROWS: usize = 5;
/// Cells of the scale at its left.
const SCALE: usize = 5;
/// Most cells that a picture is wide.
const WIDEST: usize = 96;
/// Fewer cells show nothing.
const NARROWEST: usize = 16;
/// Dots of a cell of Unicode's braille, from the top, left and right.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// The picture and its legend; nothing where there are no curves or no room.
pub fn lines(look: &Look, room: usize, theme: Theme) -> Vec<Vec<Span<'static>>> {
    let (first, before) = (&look.curves.ssim_first, &look.curves.ssim_before);
    let width = room.saturating_sub(SCALE).min(WIDEST);
    if first.len() < 2 || width < NARROWEST {
        return Vec::new();
    }
    let lowest = first.iter().chain(before).copied().fold(1.0_f64, f64::min);
    // Down to the next tenth, so that the scale can be read.
    let floor = ((lowest * 10.0).floor() / 10.0).clamp(-1.0, 0.9);
    let mut picture = Picture { width, floor, dots: vec![[0; 2]; width * ROWS] };
    picture.draw(before, 1);
    picture.draw(first, 0);
    let frames = look.measurement.frames;
    let cut = look.measurement.best_cut.unwrap_or_default();
    let (start, end) = (
        column(cut.drop_start.into(), frames, width),
        column(frames.saturating_sub(cut.drop_end.into()), frames, width),
    );

    let mut lines = Vec::with_capacity(ROWS + 2);
    for row in 0..ROWS {
        let scale = match row {
            0 => " 1.0┤".to_owned(),
            row if row + 1 == ROWS => format!("{floor:>4.1}┤"),
            _ => "    │".to_owned(),
        };
        let mut line = vec![Span::styled(scale, theme.style(Role::Quiet))];
        for x in 0..width {
            let [first, before] = picture.dots.get(row * width + x).copied().unwrap_or_default();
            let dropped = x < start || x >= end;
            let (bits, role) = if first > 0 { (first, Role::Strong) } else { (before, Role::Quiet) };
            let role = if dropped { Role::Bad } else { role };
            let empty = if dropped { '░' } else { ' ' };
            let dots = if bits > 0 { char::from_u32(0x2800 + bits).unwrap_or(empty) } else { empty };
            push(&mut line, dots, theme, role);
        }
        lines.push(line);
    }
    let axis: String = (0..width).map(|x| if x == start && start > 0 || x == end { '▲' } else { '─' }).collect();
    lines.push(vec![Span::styled(format!("    └{axis}"), theme.style(Role::Quiet))]);
    let words = format!("{frames} frames · bold: to the first frame · thin: to the one before");
    let words = if look.measurement.best_cut.is_some() {
        let parts = [(cut.drop_start, "first"), (cut.drop_end, "last")];
        let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, place)| format!("{place} {n}")).collect();
        format!("best cut ▲ without the {} · {words}", parts.join(" and the "))
    } else {
        words
    };
    let legend = canvas::wrap(&words, room.saturating_sub(SCALE)).into_iter();
    lines.extend(legend.map(|line| vec![Span::styled(format!("     {line}"), theme.style(Role::Quiet))]));
    lines
}

/// Adds to the last span where that looks the same.
fn push(line: &mut Vec<Span<'static>>, dots: char, theme: Theme, role: Role) {
    let style = theme.style(role);
    match line.last_mut() {
        Some(last) if last.style == style => last.content.to_mut().push(dots),
        _ => line.push(Span::styled(dots.to_string(), style)),
    }
}

/// In which cell a frame lies.
fn column(frame: u64, frames: u64, width: usize) -> usize {
    usize::try_from(frame * width as u64 / frames.max(1)).unwrap_or(0)
}

struct Picture {
    width: usize,
    /// SSIM at the bottom; 1 is at the top.
    floor: f64,
    /// Of each cell, both curves' dots.
    dots: Vec<[u32; 2]>,
}

impl Picture {
    /// One dot for each of the two columns of a cell, and those between it and the last one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "clamped to the picture"
    )]
    fn draw(&mut self, curve: &[f64], which: usize) {
        let (wide, high) = (2 * self.width, 4 * ROWS);
        let row = |ssim: f64| {
            let share = ((1.0 - ssim) / (1.0 - self.floor)).clamp(0.0, 1.0);
            (share * (high - 1) as f64).round() as usize
        };
        let rows: Vec<usize> =
            (0..wide).filter_map(|x| curve.get(x * curve.len() / wide)).map(|ssim| row(*ssim)).collect();
        let mut last = None;
        for (x, &y) in rows.iter().enumerate() {
            let from: usize = last.unwrap_or(y);
            last = Some(y);
            // The line goes on where it came from, but for the dot that is there already.
            let between = if from < y { from + 1..=y } else { y..=from.saturating_sub(usize::from(from > y)) };
            for y in between {
                if let (Some(cell), Some(dots)) = (self.dots.get_mut(y / 4 * self.width + x / 2), DOTS.get(y % 4)) {
                    cell[which] |= dots[x % 2];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Curves, Cut, Measurement};

    fn look(first: Vec<f64>, cut: Option<Cut>) -> Look {
        let measurement = Measurement { frames: first.len() as u64, best_cut: cut, ..Measurement::default() };
        Look {
            path: String::new(),
            measurement,
            curves: Curves { ssim_before: vec![0.97; first.len()], ssim_first: first },
        }
    }

    fn shown(look: &Look, room: usize) -> Vec<String> {
        let lines = lines(look, room, Theme::new(false));
        lines.iter().map(|line| line.iter().map(|span| span.content.as_ref()).collect()).collect()
    }

    #[test]
    fn every_row_is_as_wide_as_the_room_and_small_rooms_are_empty() {
        let clip = look((0..33).map(|n| 1.0 - f64::from(n) / 50.0).collect(), Some(Cut { drop_start: 0, drop_end: 4 }));
        for room in 21..140 {
            let rows = shown(&clip, room);
            assert!(rows.iter().all(|row| row.chars().count() <= room), "{room}: {rows:#?}");
            assert!(
                rows[..=ROWS].iter().all(|row| row.chars().count() == room.min(WIDEST + SCALE)),
                "{room}: {rows:#?}"
            );
            let legend = rows[ROWS + 1..].iter().map(|row| row.trim()).collect::<Vec<_>>().join(" ");
            assert!(rows[ROWS].contains('▲') && legend.contains("the last 4"), "{rows:#?}");
            assert!(legend.ends_with("thin: to the one before"), "{legend}");
        }
        assert!(shown(&clip, 20).is_empty());
        assert!(shown(&look(vec![1.0], None), 80).is_empty());
    }

    #[test]
    fn a_curve_outside_of_the_scale_is_drawn_at_its_edge() {
        let rows = shown(&look(vec![1.0, f64::NAN, -3.0, 7.0], None), 40);
        assert_eq!(rows.len(), ROWS + 3);
    }
}
