//! What colours and signs mean. One place, so that a meaning looks the same everywhere.
//!
//! Pure. Colours carry meaning only, and never alone: each state has a sign of its own, so that the
//! screen reads the same with `NO_COLOR`. The terminal's own 16 colours are used, so that its theme rules.

use ratatui::style::{Color, Modifier, Style};

use crate::config::UiConfig;
use crate::job::{FailureKind, JobState};
use crate::verdict::Verdict;

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// Headings, the selected row's name.
    Strong,
    /// Labels, frames, what can be overlooked.
    Quiet,
    /// Not begun.
    Waiting,
    Running,
    Good,
    /// Neither good nor bad; wants a look.
    Nearly,
    Bad,
}

/// The colours that a terminal has for pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    None,
    /// The 256 that all have.
    #[default]
    Indexed,
    /// 8 bits a channel.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    color: bool,
    /// Everything is the last that was known, not what is: all quiet.
    faded: bool,
}

impl Theme {
    pub fn new(color: bool) -> Self {
        Self { color, faded: false }
    }

    /// The same for a picture that is no longer true.
    #[must_use]
    pub fn faded(self) -> Self {
        Self { faded: true, ..self }
    }

    pub fn style(self, role: Role) -> Style {
        if self.faded {
            return Style::new().add_modifier(Modifier::DIM);
        }
        let (color, modifier) = match role {
            Role::Plain => (None, Modifier::empty()),
            Role::Strong => (None, Modifier::BOLD),
            Role::Quiet | Role::Waiting => (None, Modifier::DIM),
            Role::Running => (Some(Color::Cyan), Modifier::empty()),
            Role::Good => (Some(Color::Green), Modifier::empty()),
            Role::Nearly => (Some(Color::Yellow), Modifier::empty()),
            Role::Bad => (Some(Color::Red), Modifier::empty()),
        };
        let style = Style::new().add_modifier(modifier);
        match color {
            Some(color) if self.color => style.fg(color),
            _ => style,
        }
    }
}

/// A state's sign and meaning.
pub fn sign(state: &JobState) -> (&'static str, Role) {
    match state {
        JobState::Held => ("‖", Role::Waiting),
        JobState::Waiting { .. } => ("◦", Role::Waiting),
        JobState::Queued => ("·", Role::Waiting),
        JobState::Submitting => ("↑", Role::Waiting),
        JobState::Pending => ("○", Role::Waiting),
        JobState::Running => ("▸", Role::Running),
        JobState::Collecting => ("↓", Role::Running),
        JobState::Measuring => ("≈", Role::Running),
        JobState::Done => ("●", Role::Good),
        JobState::Cancelling { .. } => ("~", Role::Nearly),
        JobState::Cancelled { .. } => ("–", Role::Quiet),
        JobState::Failed { .. } => ("✗", Role::Bad),
        JobState::Rejected { .. } => ("!", Role::Bad),
        JobState::Duplicate { .. } => ("=", Role::Quiet),
    }
}

/// Why something failed, in two or three words.
pub fn failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::OutOfMemory => "out of memory",
        FailureKind::Node => "failed",
        FailureKind::Validation => "refused",
        FailureKind::File => "file missing",
        FailureKind::Server => "server lost",
        FailureKind::Stalled => "stalled",
        FailureKind::JobFile => "bad job file",
        FailureKind::After => "not begun",
    }
}

/// What a verdict means.
pub fn verdict(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Loops => Role::Good,
        Verdict::Nearly | Verdict::Pulses => Role::Nearly,
        Verdict::Jumps => Role::Bad,
        Verdict::Still | Verdict::Unknown => Role::Quiet,
    }
}

/// How good a loop's SSIM is: red up to `ssim_bad`, green from `ssim_good` on, yellow between.
pub fn loop_quality(ssim: f64, ui: &UiConfig) -> Role {
    if ssim >= ui.ssim_good {
        Role::Good
    } else if ssim <= ui.ssim_bad {
        Role::Bad
    } else {
        Role::Nearly
    }
}
