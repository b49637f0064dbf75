//! The ground of what lies over the panes: the help, the ranking, a menu.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::canvas;

/// Empties a rectangle. A wide character that it cuts in half would push its edge aside: that goes, too.
pub fn clear(buf: &mut Buffer, area: Rect) {
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            if let Some(cell) = buf.cell_mut((x, y)) {
                cell.reset();
            }
        }
        if area.x > 0 && buf.cell((area.x - 1, y)).is_some_and(|c| canvas::width(c.symbol()) > 1) {
            canvas::put(buf, area.x - 1, y, " ", Style::new());
        }
    }
}
