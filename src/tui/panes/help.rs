//! The help page: the table of keys, and what the signs mean, over everything else.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::job::{CancelledBy, Failure, FailureKind, JobId, JobState};
use crate::tui::app::App;
use crate::tui::canvas;
use crate::tui::keys::{Heading, KEYS};
use crate::tui::theme::{self, Role};

/// Cells for the keys' names.
const KEY_WIDTH: u16 = 10;
/// Cells for what they do.
const WORDS_WIDTH: u16 = 46;

type Lines = Vec<Vec<Span<'static>>>;

pub fn help(app: &App, buf: &mut Buffer) {
    let theme = app.theme();
    let screen = buf.area;
    let (blocks, area) = arranged(app, screen);
    let scroll = app.help.unwrap_or(0);
    super::over::clear(buf, area);
    canvas::frame(buf, area, theme.style(Role::Quiet));
    canvas::text(buf, area.x + 2, area.y, area.width.saturating_sub(4), " Keys ", theme.style(Role::Strong));
    let version = format!(" comfytop {} ", env!("CARGO_PKG_VERSION"));
    if area.width > 40 {
        canvas::text(buf, area.right() - canvas::cells(&version) - 2, area.y, 30, &version, theme.style(Role::Quiet));
    }
    let close = if overflow(app) > 0 { " j/k scroll · Esc closes " } else { " Esc closes " };
    canvas::text(buf, area.x + 2, area.bottom() - 1, area.width.saturating_sub(4), close, theme.style(Role::Quiet));
    let mut x = area.x + 2;
    for block in &blocks {
        let wide = BLOCK.min(area.right().saturating_sub(x + 2));
        for (y, line) in (area.y + 1..area.bottom() - 1).zip(block.iter().skip(scroll)) {
            canvas::spans(buf, x, y, wide, line);
        }
        x += BLOCK + 2;
    }
}

/// What it covers.
pub fn area(app: &App) -> Rect {
    let (width, height) = app.screen_size();
    arranged(app, Rect::new(0, 0, width, height)).1
}

/// How far the page can be scrolled.
pub fn overflow(app: &App) -> usize {
    let (width, height) = app.screen_size();
    let (blocks, area) = arranged(app, Rect::new(0, 0, width, height));
    let tallest = blocks.iter().map(Vec::len).max().unwrap_or(0);
    tallest.saturating_sub(usize::from(area.height.saturating_sub(2)))
}

/// Cells of a block.
const BLOCK: u16 = KEY_WIDTH + 1 + WORDS_WIDTH;

/// One block, or two beside each other where the screen has room; and the box round them.
fn arranged(app: &App, screen: Rect) -> (Vec<Lines>, Rect) {
    let groups = |headings: &[Heading]| headings.iter().flat_map(|h| group(app, *h)).collect::<Lines>();
    let two = screen.width >= BLOCK * 2 + 6;
    let blocks = if two {
        let mut right = groups(&[Heading::Everywhere, Heading::Typing, Heading::Asking]);
        right.pop();
        right.push(Vec::new());
        right.extend(signs(app));
        let mut left = groups(&[Heading::Jobs, Heading::Outputs, Heading::Queue, Heading::Marks, Heading::Moving]);
        left.pop();
        vec![left, right]
    } else {
        let mut all = groups(&Heading::ALL);
        all.extend(signs(app));
        vec![all]
    };
    let tall = blocks.iter().map(Vec::len).max().unwrap_or(0) + 2;
    let width = screen.width.min(if two { 2 * BLOCK + 6 } else { BLOCK + 4 });
    let height = screen.height.min(u16::try_from(tall).unwrap_or(u16::MAX));
    let area = Rect { x: (screen.width - width) / 2, y: (screen.height - height) / 2, width, height };
    (blocks, area)
}

fn group(app: &App, heading: Heading) -> Lines {
    let theme = app.theme();
    let mut lines = vec![vec![Span::styled(heading.words(), theme.style(Role::Quiet))]];
    for binding in KEYS.iter().filter(|b| b.heading == heading) {
        let keys: Vec<_> = binding.keys.iter().map(|k| k.label()).collect();
        lines.push(vec![
            Span::styled(format!("{:>1$} ", keys.join(" "), usize::from(KEY_WIDTH)), theme.style(Role::Strong)),
            Span::raw(binding.words),
        ]);
    }
    lines.push(Vec::new());
    lines
}

/// What the list's signs mean.
fn signs(app: &App) -> Lines {
    let theme = app.theme();
    let mut lines = vec![vec![Span::styled("signs", theme.style(Role::Quiet))]];
    let why = Failure { kind: FailureKind::Node, node: None, message: String::new(), detail: String::new() };
    let states = [
        JobState::Held,
        JobState::Waiting { after: Vec::new() },
        JobState::Queued,
        JobState::Submitting,
        JobState::Pending,
        JobState::Running,
        JobState::Collecting,
        JobState::Measuring,
        JobState::Done,
        JobState::Failed { why: why.clone() },
        JobState::Cancelling { since: app.now },
        JobState::Cancelled { by: CancelledBy::You },
        JobState::Rejected { why },
        JobState::Duplicate { of: JobId(0) },
    ];
    for half in states.chunks(4) {
        let mut line = vec![Span::raw("  ")];
        for state in half {
            let (sign, role) = theme::sign(state);
            line.push(Span::styled(format!("{sign} "), theme.style(role)));
            line.push(Span::raw(format!("{:<11}", state.word())));
        }
        lines.push(line);
    }
    let ui = &app.setup.ui;
    lines.push(vec![
        Span::raw("  SSIM first/last: "),
        Span::styled(format!("≥ {}", ui.ssim_good), theme.style(Role::Good)),
        Span::raw(" good, "),
        Span::styled(format!("≤ {}", ui.ssim_bad), theme.style(Role::Bad)),
        Span::raw(" bad"),
    ]);
    lines
}
