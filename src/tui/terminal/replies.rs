//! What a terminal answers when it is asked, told apart from what is typed and pasted meanwhile.
//!
//! Pure: bytes in, keys and pastes out, and what is known of the terminal. Nothing that is typed is lost: whatever is no
//! reply is a key.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::config::PictureMeans;
use crate::tui::app::Event;
use crate::tui::graphics::{Graphics, Means, USUAL_CELL, kitty};

/// The question: kitty's graphics, the terminal's name, sixels (device attributes), the size of a cell; and a status
/// report, which every terminal answers, for the end.
pub fn question(hints: &Hints) -> String {
    // A picture of one pixel that is asked about and not kept.
    let kitty = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";
    let kitty = match (hints.tmux, hints.plain) {
        // Tmux would keep it for itself.
        (true, _) => kitty::wrapped(kitty),
        (false, true) => String::new(),
        (false, false) => kitty.to_owned(),
    };
    format!("{kitty}\x1b[>0q\x1b[c\x1b[16t\x1b[5n")
}

/// What the environment says of the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    pub tmux: bool,
    /// A screen or a console that would show kitty's question, or take it for a title.
    pub plain: bool,
    /// `TERM_PROGRAM` and `LC_TERMINAL`, in small letters.
    pub names: String,
}

impl Hints {
    pub fn from_environment() -> Self {
        let says = |name: &str| std::env::var(name).unwrap_or_default().to_ascii_lowercase();
        let term = says("TERM");
        let tmux = std::env::var_os("TMUX").is_some() || term.starts_with("tmux");
        let plain = ["screen", "linux", "dumb", "vt"].iter().any(|name| term.starts_with(name));
        Self { tmux, plain, names: format!("{} {}", says("TERM_PROGRAM"), says("LC_TERMINAL")) }
    }
}

/// The replies so far.
#[derive(Debug, Default)]
pub struct Replies {
    pending: Vec<u8>,
    kitty: bool,
    sixel: bool,
    cell: Option<(u16, u16)>,
    name: String,
    /// Status reports.
    answers: u32,
    /// What was pasted so far, while a paste goes on.
    paste: Option<Vec<u8>>,
}

const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// A part of what was read.
enum Part {
    Key(KeyEvent),
    /// A paste begins.
    Paste,
    Nothing,
    /// More must come before anybody can tell.
    Open,
}

impl Replies {
    /// Takes bytes in; what was typed and pasted among them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.pending.extend_from_slice(bytes);
        let mut typed = Vec::new();
        loop {
            let pending = std::mem::take(&mut self.pending);
            if pending.is_empty() {
                return typed;
            }
            if let Some(paste) = &mut self.paste {
                let end = pending.windows(PASTE_ENDS.len()).position(|bytes| bytes == PASTE_ENDS);
                // The last few may be the beginning of its end.
                let taken = end.unwrap_or_else(|| pending.len().saturating_sub(PASTE_ENDS.len() - 1));
                paste.extend_from_slice(pending.get(..taken).unwrap_or_default());
                let after = if end.is_some() { taken + PASTE_ENDS.len() } else { taken };
                self.pending = pending.get(after..).unwrap_or_default().to_vec();
                if end.is_none() {
                    return typed;
                }
                let paste = self.paste.take().unwrap_or_default();
                typed.push(Event::Paste(String::from_utf8_lossy(&paste).into_owned()));
                continue;
            }
            let (part, taken) = self.part(&pending);
            self.pending = pending.get(taken..).unwrap_or_default().to_vec();
            match part {
                Part::Key(key) => typed.push(Event::Key(key)),
                Part::Paste => self.paste = Some(Vec::new()),
                Part::Nothing => {}
                Part::Open => return typed,
            }
        }
    }

    /// Nothing more comes at once: an escape alone is the key.
    pub fn pause(&mut self) -> Vec<Event> {
        if self.is_open() && self.pending == [0x1b] {
            self.pending.clear();
            return vec![Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE))];
        }
        Vec::new()
    }

    /// What came last may be the beginning of something.
    pub fn is_open(&self) -> bool {
        !self.pending.is_empty() && self.paste.is_none()
    }

    /// Status reports since this was asked last.
    pub fn take_answers(&mut self) -> u32 {
        std::mem::take(&mut self.answers)
    }

    /// The first part of these bytes, and how many it has.
    fn part(&mut self, bytes: &[u8]) -> (Part, usize) {
        let Some((&first, rest)) = bytes.split_first() else { return (Part::Open, 0) };
        if first != 0x1b {
            return letter(bytes);
        }
        match rest.first() {
            None => (Part::Open, 0),
            // A reply comes right after the key.
            Some(0x1b) => (Part::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)), 1),
            Some(b'[') => match bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte)) {
                Some(at) => {
                    let (body, last) = (bytes.get(2..2 + at).unwrap_or_default(), bytes.get(2 + at).copied());
                    (self.control(body, last.unwrap_or_default()), at + 3)
                }
                None => (Part::Open, 0),
            },
            // The last byte of these is the key.
            Some(b'O') => match bytes.get(2) {
                Some(last) => (named(*last).map_or(Part::Nothing, Part::Key), 3),
                None => (Part::Open, 0),
            },
            // Graphics, device strings, system commands: up to their end.
            Some(b'_' | b'P' | b']') => {
                let end = bytes.windows(2).position(|two| two == b"\x1b\\").map(|at| (at, at + 2));
                let bell = bytes.iter().position(|byte| *byte == 7).map(|at| (at, at + 1));
                let bell = bell.filter(|_| rest.first() == Some(&b']'));
                match end.into_iter().chain(bell).min() {
                    Some((at, taken)) => {
                        self.string(bytes.get(1..at).unwrap_or_default());
                        (Part::Nothing, taken)
                    }
                    None => (Part::Open, 0),
                }
            }
            Some(_) => {
                let (part, taken) = letter(rest);
                let with_alt = |key: KeyEvent| KeyEvent { modifiers: key.modifiers | KeyModifiers::ALT, ..key };
                match part {
                    Part::Key(key) => (Part::Key(with_alt(key)), taken + 1),
                    Part::Open => (Part::Open, 0),
                    _ => (Part::Nothing, taken + 1),
                }
            }
        }
    }

    /// `ESC [ body last`.
    fn control(&mut self, body: &[u8], last: u8) -> Part {
        let body = String::from_utf8_lossy(body);
        let numbers: Vec<&str> = body.trim_start_matches('?').split(';').collect();
        match (last, numbers.as_slice()) {
            (b'c', all) if body.starts_with('?') => self.sixel |= all.iter().skip(1).any(|feature| *feature == "4"),
            (b't', ["6", height, width]) => {
                let size = width.parse().ok().zip(height.parse().ok());
                self.cell = size.filter(|(width, height)| (1..=200).contains(width) && (1..=200).contains(height));
            }
            (b'n', ["0"]) => self.answers += 1,
            (b'~', ["200"]) => return Part::Paste,
            (last, all) => {
                let number = || all.first().and_then(|number| number.parse().ok());
                let key = if last == b'~' { number().and_then(numbered) } else { named(last) };
                let held = all.get(1).and_then(|held| held.parse().ok()).map_or(KeyModifiers::NONE, modifiers);
                return key.map_or(Part::Nothing, |key| Part::Key(KeyEvent { modifiers: key.modifiers | held, ..key }));
            }
        }
        Part::Nothing
    }

    /// What stands between an escape's introducer and its end.
    fn string(&mut self, body: &[u8]) {
        let body = String::from_utf8_lossy(body);
        if let Some(answer) = body.strip_prefix("_G") {
            self.kitty |= answer.contains("i=31") && answer.ends_with(";OK");
        } else if let Some(name) = body.strip_prefix("P>|") {
            self.name = crate::text::clean(name).to_ascii_lowercase();
        }
    }

    /// What is known by now, and what is best then. `wanted`: what a person has set.
    pub fn graphics(&self, wanted: PictureMeans, hints: &Hints) -> Graphics {
        let is = |names: &[&str]| names.iter().any(|name| self.name.contains(name) || hints.names.contains(name));
        // A tmux says what it is itself; the terminal behind it is known by the environment that it was started in.
        let inline = !hints.tmux && is(&["iterm", "wezterm", "mintty"]);
        let means = match wanted {
            PictureMeans::Kitty => Means::Kitty,
            PictureMeans::Iterm2 => Means::Iterm2,
            PictureMeans::Sixel => Means::Sixel,
            PictureMeans::Auto if inline => Means::Iterm2,
            // These answer for kitty's pictures, but know no placeholders.
            PictureMeans::Auto if self.kitty && !is(&["konsole"]) => Means::Kitty,
            PictureMeans::Auto if self.sixel => Means::Sixel,
            PictureMeans::Auto | PictureMeans::Blocks | PictureMeans::Off => Means::Blocks,
        };
        Graphics { means, cell: self.cell.unwrap_or(USUAL_CELL), tmux: hints.tmux }
    }
}

/// A letter, or a control character.
fn letter(bytes: &[u8]) -> (Part, usize) {
    let Some(&first) = bytes.first() else { return (Part::Open, 0) };
    let key = |code, modifiers| (Part::Key(KeyEvent::new(code, modifiers)), 1);
    match first {
        b'\r' | b'\n' => key(KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => key(KeyCode::Tab, KeyModifiers::NONE),
        0x7f | 0x08 => key(KeyCode::Backspace, KeyModifiers::NONE),
        0x1b => key(KeyCode::Esc, KeyModifiers::NONE),
        1..=26 => key(KeyCode::Char(char::from(first - 1 + b'a')), KeyModifiers::CONTROL),
        0..=0x1f => (Part::Nothing, 1),
        _ => {
            let length = match first {
                0..=0x7f => 1,
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => return (Part::Nothing, 1),
            };
            let Some(letter) = bytes.get(..length) else { return (Part::Open, 0) };
            let letter = std::str::from_utf8(letter).ok().and_then(|text| text.chars().next());
            let Some(letter) = letter else { return (Part::Nothing, 1) };
            (Part::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE)), length)
        }
    }
}

/// What is held, as xterm counts it: one more than the sum of shift (1), alt (2), control (4).
fn modifiers(held: u8) -> KeyModifiers {
    let held = held.saturating_sub(1);
    let all = [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)];
    all.into_iter().filter(|(bit, _)| held & bit != 0).map(|(_, modifier)| modifier).collect()
}

fn named(last: u8) -> Option<KeyEvent> {
    let code = match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'Z' => KeyCode::BackTab,
        _ => return None,
    };
    Some(KeyEvent::new(code, KeyModifiers::NONE))
}

fn numbered(number: u8) -> Option<KeyEvent> {
    let code = match number {
        1 | 7 => KeyCode::Home,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        _ => return None,
    };
    Some(KeyEvent::new(code, KeyModifiers::NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KITTY: &str = "\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.35.2)\x1b\\\x1b[?62;c\x1b[6;22;11t\x1b[0n";
    const XTERM: &str = "\x1bP>|XTerm(390)\x1b\\\x1b[?64;1;2;4;6;22c\x1b[6;16;8t\x1b[0n";
    const ITERM: &str = "\x1bP>|iTerm2 3.5.4\x1b\\\x1b[?62;4c\x1b[6;20;9t\x1b[0n";
    const KONSOLE: &str = "\x1b_Gi=31;OK\x1b\\\x1bP>|Konsole 23.08.5\x1b\\\x1b[?62;1;4c\x1b[0n";
    const PLAIN: &str = "\x1b[?6c\x1b[0n";

    fn keys(events: Vec<Event>) -> Vec<KeyEvent> {
        let key = |event| if let Event::Key(key) = event { key } else { panic!("{event:?}") };
        events.into_iter().map(key).collect()
    }

    fn heard(text: &str) -> (Replies, Vec<KeyEvent>) {
        let mut replies = Replies::default();
        let events = replies.push(text.as_bytes());
        (replies, keys(events))
    }

    #[test]
    fn each_terminal_gets_what_it_understands_best() {
        let auto = |text: &str| heard(text).0.graphics(PictureMeans::Auto, &Hints::default());
        let of = |means, cell| Graphics { means, cell, tmux: false };
        assert_eq!(auto(KITTY), of(Means::Kitty, (11, 22)));
        assert_eq!(auto(XTERM), of(Means::Sixel, (8, 16)));
        assert_eq!(auto(ITERM), of(Means::Iterm2, (9, 20)));
        assert_eq!(auto(KONSOLE), of(Means::Sixel, USUAL_CELL));
        assert_eq!(auto(PLAIN), of(Means::Blocks, USUAL_CELL));
        assert_eq!(auto(""), of(Means::Blocks, USUAL_CELL), "it says nothing");
        assert_eq!(heard(KITTY).0.graphics(PictureMeans::Blocks, &Hints::default()).means, Means::Blocks);
        assert_eq!(heard(PLAIN).0.graphics(PictureMeans::Kitty, &Hints::default()).means, Means::Kitty);
        let tmux = Hints { tmux: true, plain: false, names: "tmux iterm2".to_owned() };
        assert_eq!(heard(ITERM).0.graphics(PictureMeans::Auto, &tmux).means, Means::Sixel, "by tmux's own");
    }

    #[test]
    fn nobody_is_asked_what_he_would_show() {
        let of = |tmux, plain| question(&Hints { tmux, plain, names: String::new() });
        assert!(of(false, false).starts_with("\x1b_Gi=31"));
        assert!(of(true, true).starts_with("\x1bPtmux;\x1b\x1b_Gi=31"));
        assert!(!of(false, true).contains("\x1b_G"));
        assert!([of(false, false), of(true, false), of(false, true)].iter().all(|q| q.ends_with("\x1b[5n")));
    }

    #[test]
    fn what_is_typed_meanwhile_is_no_reply_and_none_is_lost() {
        use KeyCode as C;
        let typed = "j\x1b[A歩\x1b[5~\x1bOB\r\x03R\x1bx";
        for (before, after) in [("", KITTY), (KITTY, ""), ("\x1b_Gi=31;OK\x1b\\", "\x1b[?62;4c\x1b[0n")] {
            let (mut replies, keys) = heard(&format!("{before}{typed}{after}"));
            let codes: Vec<_> = keys.iter().map(|key| key.code).collect();
            let wanted = [
                C::Char('j'),
                C::Up,
                C::Char('歩'),
                C::PageUp,
                C::Down,
                C::Enter,
                C::Char('c'),
                C::Char('R'),
                C::Char('x'),
            ];
            assert_eq!(codes, wanted);
            assert_eq!((keys[6].modifiers, keys[8].modifiers), (KeyModifiers::CONTROL, KeyModifiers::ALT));
            assert_eq!(replies.take_answers(), 1);
        }
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut() {
        let all = format!("q{KITTY}\x1b[B歩{XTERM}z");
        let (whole, typed) = heard(&all);
        for size in 1..9 {
            let mut replies = Replies::default();
            let parts = all.as_bytes().chunks(size).flat_map(|bytes| replies.push(bytes)).collect();
            assert_eq!(super::tests::keys(parts), typed);
            assert_eq!(replies.take_answers(), 2);
            let known = |r: &Replies| r.graphics(PictureMeans::Auto, &Hints::default());
            assert_eq!(known(&replies), known(&whole));
        }
    }

    #[test]
    fn an_escape_alone_is_a_key_once_nothing_follows() {
        let mut replies = Replies::default();
        assert!(replies.push(b"\x1b").is_empty());
        assert_eq!(keys(replies.pause())[0].code, KeyCode::Esc);
        assert!(replies.pause().is_empty() && replies.push(b"\x1b[").is_empty() && replies.pause().is_empty());
    }

    #[test]
    fn a_paste_is_one_thing_and_presses_no_keys() {
        let all = "a\x1b[200~q歩\x1b[0n\x1b[201~\x1b[0nb".as_bytes();
        for size in 1..=all.len() {
            let mut replies = Replies::default();
            let parts = all.chunks(size).flat_map(|bytes| replies.push(bytes));
            let parts: Vec<_> = parts.map(|event| format!("{event:?}")).collect();
            assert_eq!(parts.len(), 3, "{size}: {parts:?}");
            assert_eq!(parts[1], format!("{:?}", Event::Paste("q歩\x1b[0n".to_owned())));
            assert_eq!(replies.take_answers(), 1);
        }
    }

    #[test]
    fn an_escape_right_before_a_reply_is_a_key() {
        let (mut replies, keys) = heard("\x1b\x1b[0n\x1b[0nx");
        assert_eq!(keys.iter().map(|key| key.code).collect::<Vec<_>>(), [KeyCode::Esc, KeyCode::Char('x')]);
        assert_eq!((replies.take_answers(), keys[0].modifiers), (2, KeyModifiers::NONE));
    }

    #[test]
    fn what_is_held_with_a_key_is_told() {
        let (_, keys) = heard("\x1b[1;5C\x1b[3;2~\x1b[1;3A");
        let held: Vec<_> = keys.iter().map(|key| (key.code, key.modifiers)).collect();
        let wanted = [
            (KeyCode::Right, KeyModifiers::CONTROL),
            (KeyCode::Delete, KeyModifiers::SHIFT),
            (KeyCode::Up, KeyModifiers::ALT),
        ];
        assert_eq!(held, wanted);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn nothing_that_comes_hangs_or_panics(bytes: Vec<u8>) {
            let mut replies = Replies::default();
            replies.push(&bytes);
            replies.pause();
        }
    }
}
