//! The table of keys. Dispatch, the footer, the help page and docs/keys.md all read this one.
//!
//! Pure. A new key is one entry in [`KEYS`] and one arm where its [`Action`] is done. While text is
//! typed every printable key is text; only the keys listed for [`Mode::Typing`] are not.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Which keys are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The job list has the focus.
    Jobs,
    /// The details of a job have it.
    Detail,
    /// The server and its memory have it.
    Server,
    /// The help page is open.
    Help,
    /// The ranking is open.
    Ranking,
    /// The ways to repair an output are listed.
    Menu,
    /// A question waits for yes or no.
    Asking,
    /// The filter is being typed.
    Typing,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Cancel,
    Requeue,
    RequeueNewSeed,
    Edit,
    Hold,
    MoveUp,
    MoveDown,
    MoveTop,
    MoveBottom,
    PriorityUp,
    PriorityDown,
    Mark,
    MarkRange,
    MarkAll,
    Pause,
    Drain,
    Pictures,
    Play,
    Open,
    CopyPath,
    Ranking,
    Repair,
    Choose,
    Keep,
    Discard,
    Details,
    Filter,
    Sort,
    SortTurn,
    Down,
    Up,
    First,
    Last,
    PageDown,
    PageUp,
    HalfDown,
    HalfUp,
    Fold,
    Unfold,
    NextPane,
    PreviousPane,
    Zoom,
    Back,
    Start,
    StopEngine,
    Suspend,
    Redraw,
    Help,
    Leave,
    Yes,
    No,
    KeepFilter,
    DropFilter,
}

/// Under which heading the help page shows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heading {
    Jobs,
    Outputs,
    Marks,
    Queue,
    Moving,
    Everywhere,
    Typing,
    Asking,
}

impl Heading {
    pub const ALL: [Self; 8] = [
        Self::Jobs,
        Self::Outputs,
        Self::Queue,
        Self::Marks,
        Self::Moving,
        Self::Everywhere,
        Self::Typing,
        Self::Asking,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Self::Jobs => "the selected job, or all that are marked",
            Self::Outputs => "its outputs",
            Self::Marks => "marking jobs",
            Self::Queue => "the queue; in the server pane, that server",
            Self::Moving => "moving",
            Self::Everywhere => "everywhere",
            Self::Typing => "while a filter is typed (all other keys are text)",
            Self::Asking => "when asked",
        }
    }
}

/// One key. Shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
}

impl Key {
    const fn char(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: false }
    }

    const fn ctrl(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: true }
    }

    const fn code(code: KeyCode) -> Self {
        Self { code, ctrl: false }
    }

    /// How it is written: `c`, `Ctrl-C`, `PgUp`.
    pub fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => c.to_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            other => format!("{other:?}"),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Binding {
    pub modes: &'static [Mode],
    pub keys: &'static [Key],
    pub action: Action,
    pub heading: Heading,
    /// For the help page.
    pub words: &'static str,
    /// For the footer; empty: never there.
    pub short: &'static str,
}

use KeyCode as C;
use Mode::{Asking, Detail, Help, Jobs, Menu, Ranking, Server, Typing};

const PANES: &[Mode] = &[Jobs, Detail, Server];
const ON_JOB: &[Mode] = &[Jobs, Detail];
const ON_OUTPUT: &[Mode] = &[Jobs, Detail, Ranking];
const SCROLLED: &[Mode] = &[Jobs, Detail, Server, Help, Ranking];
const STEPPED: &[Mode] = &[Jobs, Detail, Server, Help, Ranking, Menu];
const ALL: &[Mode] = &[Jobs, Detail, Server, Help, Ranking, Menu, Asking, Typing];

/// All keys. The footer shows them in this order, `?` and `q` always last.
pub const KEYS: &[Binding] = &[
    // Alive only when something is wrong: then it is the one to see.
    bind(
        PANES,
        &[Key::char('E')],
        Action::Start,
        Heading::Everywhere,
        "start the engine; try the server again now",
        "start",
    ),
    bind(
        ON_JOB,
        &[Key::char('c')],
        Action::Cancel,
        Heading::Jobs,
        "cancel it (asks first when it is running)",
        "cancel",
    ),
    bind(
        ON_JOB,
        &[Key::char('r')],
        Action::Requeue,
        Heading::Jobs,
        "render it once more, with the same seed",
        "requeue",
    ),
    bind(
        ON_JOB,
        &[Key::char('R')],
        Action::RequeueNewSeed,
        Heading::Jobs,
        "render it once more, with a new seed",
        "new seed",
    ),
    bind(PANES, &[Key::char('p')], Action::Pause, Heading::Queue, "pause: take back what waits; or go on", "pause"),
    bind(PANES, &[Key::char('D')], Action::Drain, Heading::Queue, "drain: let end what is sent, then pause", ""),
    bind(ON_JOB, &[Key::char('e')], Action::Edit, Heading::Jobs, "edit its text in $EDITOR", "edit"),
    bind(ON_JOB, &[Key::char('H')], Action::Hold, Heading::Jobs, "hold it back, or release it", "hold"),
    bind(&[Jobs], &[Key::char('K')], Action::MoveUp, Heading::Jobs, "move it up: rendered sooner", "up"),
    bind(&[Jobs], &[Key::char('J')], Action::MoveDown, Heading::Jobs, "move it down", "down"),
    bind(&[Jobs], &[Key::char('T')], Action::MoveTop, Heading::Jobs, "to the top: rendered next", ""),
    bind(&[Jobs], &[Key::char('B')], Action::MoveBottom, Heading::Jobs, "to the bottom", ""),
    bind(&[Jobs], &[Key::char('+')], Action::PriorityUp, Heading::Jobs, "a higher priority", ""),
    bind(&[Jobs], &[Key::char('-')], Action::PriorityDown, Heading::Jobs, "a lower priority", ""),
    bind(&[Jobs], &[Key::char(' ')], Action::Mark, Heading::Marks, "mark it, or not; then the next", "mark"),
    bind(&[Jobs], &[Key::char('v')], Action::MarkRange, Heading::Marks, "mark from here to where you go", ""),
    bind(&[Jobs], &[Key::char('*')], Action::MarkAll, Heading::Marks, "mark all that the filter shows", ""),
    bind(&[Menu], &[Key::code(C::Enter)], Action::Choose, Heading::Outputs, "repair it in this way", "repair"),
    bind(&[Ranking], &[Key::char('m')], Action::Keep, Heading::Outputs, "ranking: keep it, it counts; or not", "keep"),
    bind(
        &[Ranking],
        &[Key::char('d')],
        Action::Discard,
        Heading::Outputs,
        "ranking: discard (asks), or bring it back",
        "discard",
    ),
    bind(
        ON_OUTPUT,
        &[Key::char('i')],
        Action::Pictures,
        Heading::Outputs,
        "pictures: ends, difference, strip, live, off",
        "pictures",
    ),
    bind(ON_OUTPUT, &[Key::char('P')], Action::Play, Heading::Outputs, "play its clip in place, or stop", "play"),
    bind(ON_OUTPUT, &[Key::char('x')], Action::Repair, Heading::Outputs, "repair it: ways that make sense", "repair"),
    bind(
        ON_OUTPUT,
        &[Key::char('o')],
        Action::Open,
        Heading::Outputs,
        "open its output with the system's player",
        "open",
    ),
    bind(
        ON_OUTPUT,
        &[Key::char('y')],
        Action::CopyPath,
        Heading::Outputs,
        "copy the path of its output (OSC 52)",
        "copy path",
    ),
    bind(
        &[Jobs],
        &[Key::code(C::Enter)],
        Action::Details,
        Heading::Jobs,
        "all its details, on the whole screen",
        "details",
    ),
    bind(
        &[Jobs],
        &[Key::char('/')],
        Action::Filter,
        Heading::Jobs,
        "filter by words: name, workflow, state, seed",
        "filter",
    ),
    bind(
        ON_OUTPUT,
        &[Key::char('b')],
        Action::Ranking,
        Heading::Outputs,
        "rank attempts: of it, its group, the marked",
        "ranking",
    ),
    bind(
        &[Jobs],
        &[Key::char('s')],
        Action::Sort,
        Heading::Jobs,
        "sort by the next column, then the queue again",
        "sort",
    ),
    bind(&[Jobs], &[Key::char('S')], Action::SortTurn, Heading::Jobs, "turn the order round", ""),
    bind(STEPPED, &[Key::code(C::Down), Key::char('j')], Action::Down, Heading::Moving, "down", ""),
    bind(STEPPED, &[Key::code(C::Up), Key::char('k')], Action::Up, Heading::Moving, "up", ""),
    bind(SCROLLED, &[Key::code(C::PageDown)], Action::PageDown, Heading::Moving, "a page down", ""),
    bind(SCROLLED, &[Key::code(C::PageUp)], Action::PageUp, Heading::Moving, "a page up", ""),
    bind(SCROLLED, &[Key::ctrl('d')], Action::HalfDown, Heading::Moving, "half a page down", ""),
    bind(SCROLLED, &[Key::ctrl('u')], Action::HalfUp, Heading::Moving, "half a page up", ""),
    bind(
        &[Jobs],
        &[Key::code(C::Left), Key::char('h')],
        Action::Fold,
        Heading::Moving,
        "fold its group (a sweep) to one row",
        "fold",
    ),
    bind(&[Jobs], &[Key::code(C::Right), Key::char('l')], Action::Unfold, Heading::Moving, "unfold it", "unfold"),
    bind(SCROLLED, &[Key::char('g'), Key::code(C::Home)], Action::First, Heading::Moving, "to the first", ""),
    bind(SCROLLED, &[Key::char('G'), Key::code(C::End)], Action::Last, Heading::Moving, "to the last", ""),
    bind(PANES, &[Key::code(C::Tab)], Action::NextPane, Heading::Everywhere, "the next pane", ""),
    bind(PANES, &[Key::code(C::BackTab)], Action::PreviousPane, Heading::Everywhere, "the pane before", ""),
    bind(PANES, &[Key::char('z')], Action::Zoom, Heading::Everywhere, "zoom the pane, and back", ""),
    bind(
        STEPPED,
        &[Key::code(C::Esc)],
        Action::Back,
        Heading::Everywhere,
        "close, unmark, unfilter, follow; never leaves",
        "back",
    ),
    bind(PANES, &[Key::char('Q')], Action::StopEngine, Heading::Everywhere, "stop the engine (asks first)", ""),
    bind(ALL, &[Key::ctrl('l')], Action::Redraw, Heading::Everywhere, "draw the screen anew", ""),
    bind(ALL, &[Key::ctrl('z')], Action::Suspend, Heading::Everywhere, "suspend; fg comes back", ""),
    bind(&[Asking], &[Key::char('y')], Action::Yes, Heading::Asking, "yes", "yes"),
    bind(&[Asking], &[Key::char('n'), Key::code(C::Esc), Key::char('q')], Action::No, Heading::Asking, "no", "no"),
    bind(&[Typing], &[Key::code(C::Enter)], Action::KeepFilter, Heading::Typing, "keep the filter", "keep"),
    bind(&[Typing], &[Key::code(C::Esc)], Action::DropFilter, Heading::Typing, "drop the filter", "drop"),
    bind(SCROLLED, &[Key::char('?')], Action::Help, Heading::Everywhere, "this help", "help"),
    bind(SCROLLED, &[Key::char('q')], Action::Leave, Heading::Everywhere, "leave; the engine goes on working", "leave"),
    bind(ALL, &[Key::ctrl('c')], Action::Leave, Heading::Everywhere, "leave, whatever is open", ""),
];

const fn bind(
    modes: &'static [Mode],
    keys: &'static [Key],
    action: Action,
    heading: Heading,
    words: &'static str,
    short: &'static str,
) -> Binding {
    Binding { modes, keys, action, heading, words, short }
}

/// What a key does in a mode.
pub fn action(mode: Mode, event: &KeyEvent) -> Option<Action> {
    if event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER) {
        return None;
    }
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let code = match event.code {
        KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
        // Some terminals report the shifted character as the plain one with Shift.
        KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::Char(c.to_ascii_uppercase()),
        KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        other => other,
    };
    let key = Key { code, ctrl };
    KEYS.iter().find(|b| b.modes.contains(&mode) && b.keys.contains(&key)).map(|b| b.action)
}

/// The table for docs/keys.md, in Markdown.
pub fn markdown() -> String {
    let mut out = String::new();
    for heading in Heading::ALL {
        let words = heading.words();
        let mut letters = words.chars();
        let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        out.extend(["### ", &title, "\n\n| key | what it does |\n|---|---|\n"]);
        for binding in KEYS.iter().filter(|b| b.heading == heading) {
            let keys: Vec<_> = binding.keys.iter().map(|k| format!("`{}`", k.label())).collect();
            out.extend(["| ", &keys.join(" "), " | ", binding.words, " |\n"]);
        }
        out.push('\n');
    }
    out.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MODES: [Mode; 8] = [Jobs, Detail, Server, Help, Ranking, Menu, Asking, Typing];

    #[test]
    fn no_key_stands_twice_in_a_mode() {
        let mut seen = HashSet::new();
        for binding in KEYS {
            for mode in binding.modes {
                for key in binding.keys {
                    assert!(seen.insert((*mode, *key)), "{mode:?}: {}", key.label());
                }
            }
        }
    }

    #[test]
    fn every_key_of_the_table_is_found_by_dispatch() {
        for binding in KEYS {
            for mode in binding.modes {
                for key in binding.keys {
                    let modifiers = if key.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                    let event = KeyEvent::new(key.code, modifiers);
                    assert_eq!(action(*mode, &event), Some(binding.action), "{mode:?} {}", key.label());
                }
            }
        }
    }

    #[test]
    fn printable_keys_are_text_while_text_is_typed() {
        for c in (' '..='~').chain(['ü', '歩']) {
            assert_eq!(action(Typing, &KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)), None, "{c}");
        }
    }

    #[test]
    fn shifted_keys_are_capitals_however_the_terminal_says_it() {
        for (code, modifiers) in [
            (KeyCode::Char('R'), KeyModifiers::SHIFT),
            (KeyCode::Char('r'), KeyModifiers::SHIFT),
            (KeyCode::Char('R'), KeyModifiers::NONE),
        ] {
            assert_eq!(action(Jobs, &KeyEvent::new(code, modifiers)), Some(Action::RequeueNewSeed));
        }
    }

    #[test]
    fn the_words_fit_the_help_page() {
        for binding in KEYS {
            assert!(binding.words.chars().count() <= 46, "{}", binding.words);
        }
    }

    #[test]
    fn leaving_is_possible_in_every_mode() {
        for mode in MODES {
            let event = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(action(mode, &event), Some(Action::Leave), "{mode:?}");
        }
    }
}
