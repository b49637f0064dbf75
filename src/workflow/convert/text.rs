//! What the page does to texts when it sends them: `{a|b}` in prompts, `%date:…%` in file names.

use std::fmt::Write as _;

use jiff::civil::DateTime;

/// Choices within choices are followed so far.
const DEEPEST: usize = 32;
/// So much of a file name is filled in.
const MOST_FILLED: usize = 64;

/// Numbers that look like chance, from a seed (`SplitMix64`, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(count.max(1)).unwrap_or(1);
        usize::try_from((z ^ (z >> 31)) % count).unwrap_or_default()
    }
}

/// A prompt with its comments (`//`, `/* */`) taken out and one of each `{a|b}` chosen.
pub(super) fn resolve_choices(prompt: &str, dice: &mut Dice) -> String {
    // Most prompts have nothing of the kind.
    if !prompt.contains(['{', '\\', '/']) {
        return prompt.to_owned();
    }
    resolve(prompt, dice, 0)
}

fn resolve(prompt: &str, dice: &mut Dice, depth: usize) -> String {
    let text = without_comments(prompt);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '{' if depth < DEEPEST => {
                let choices = choices(&mut chars);
                let chosen = dice.below(choices.len());
                out.push_str(&resolve(&choices[chosen], dice, depth + 1));
            }
            c => out.push(c),
        }
    }
    unescaped(&out)
}

/// What stands between the `{` that was just read and its `}` (or the end), by its outer `|`; never empty.
fn choices(chars: &mut std::str::Chars) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut depth = 0_usize;
    while let Some(c) = chars.next() {
        match c {
            '}' if depth == 0 => break,
            '|' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if let Some(choice) = found.last_mut() {
            choice.push(c);
            if c == '\\' {
                choice.extend(chars.next());
            }
        }
    }
    found
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (before, comment) = rest.split_at(at);
        out.push_str(before);
        let block = comment.strip_prefix("/*").and_then(|inner| inner.find("*/")).map(|end| end + 4);
        let line = || comment.starts_with("//").then(|| comment.find(['\n', '\r', '\u{2028}', '\u{2029}']));
        rest = match (block, block.is_none().then(line).flatten()) {
            (Some(end), _) => &comment[end..],
            (None, Some(end)) => end.map_or("", |end| &comment[end..]),
            (None, None) => {
                out.push('/');
                &comment[1..]
            }
        };
    }
    out.push_str(rest);
    out
}

/// `\{`, `\}` and `\|` without the backslash.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek().is_some_and(|next| matches!(next, '{' | '}' | '|')) {
            continue;
        }
        out.push(c);
    }
    out
}

/// A file name with what stands between percent signs filled in: `%date:yyyy-MM-dd%`, and `%Node.widget%` by
/// `widget`. What is neither stays.
pub(super) fn fill_name(name: &str, now: DateTime, widget: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    for _ in 0..MOST_FILLED {
        let Some((before, after)) = rest.split_once('%') else { break };
        out.push_str(before);
        let Some((inner, behind)) = after.split_once('%').filter(|(inner, _)| !inner.is_empty()) else {
            out.push('%');
            rest = after;
            continue;
        };
        let parts: Vec<&str> = inner.split('.').collect();
        let filled = match parts.as_slice() {
            [node, name] => widget(node, name).map(|value| file_safe(&value)),
            [first, ..] => first.strip_prefix("date:").map(|format| date(format, now)),
            [] => None,
        };
        if let Some(filled) = filled {
            out.push_str(&filled);
        } else {
            out.push('%');
            out.push_str(inner);
            out.push('%');
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// What can't stand in the name of a file is a `_`.
fn file_safe(text: &str) -> String {
    let bad = |c: char| matches!(c, '/' | '?' | '<' | '>' | '\\' | ':' | '*' | '|' | '"' | '\0'..='\u{1f}' | '\u{7f}');
    text.chars().map(|c| if bad(c) { '_' } else { c }).collect()
}

/// `yyyy`, `yy`, `MM`, `dd`, `hh`, `mm`, `ss`, and the same with one letter.
fn date(format: &str, now: DateTime) -> String {
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        let most = if c == 'y' { 4 } else { 2 };
        let mut run = 1;
        while run < most && chars.peek() == Some(&c) && matches!(c, 'd' | 'M' | 'h' | 'm' | 's' | 'y') {
            chars.next();
            run += 1;
        }
        let number = match c {
            'd' => now.day(),
            'M' => now.month(),
            'h' => now.hour(),
            'm' => now.minute(),
            's' => now.second(),
            'y' => {
                let year = now.year().to_string();
                match run {
                    4 => out.push_str(&year),
                    2 => out.push_str(year.get(2..).unwrap_or_default()),
                    _ => out.push_str(&"y".repeat(run)),
                }
                continue;
            }
            other => {
                out.push(other);
                continue;
            }
        };
        // Writing to a String can't fail.
        let _ = write!(out, "{number:0run$}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(prompt: &str) -> String {
        resolve_choices(prompt, &mut Dice(7))
    }

    #[test]
    fn choices_comments_and_escapes_are_resolved_as_on_the_page() {
        assert_eq!(resolved("a /* b */ cat // on a mat\nasleep"), "a  cat \nasleep");
        assert_eq!(resolved("see http://x"), "see http:");
        assert_eq!(resolved("{only}"), "only");
        assert_eq!(resolved(r"\{a\|b\} c\d"), r"{a|b} c\d");
        assert_eq!(resolved("a / b */ } |"), "a / b */ } |");
        assert_eq!(resolved("{open"), "open");
        let both: std::collections::BTreeSet<String> =
            (0..40).map(|seed| resolve_choices("{a|{b|c}} x", &mut Dice(seed))).collect();
        assert_eq!(both.into_iter().collect::<Vec<_>>(), ["a x", "b x", "c x"]);
    }

    #[test]
    fn a_thousand_open_braces_end() {
        assert!(!resolved(&"{a|".repeat(10_000)).is_empty());
    }

    #[test]
    fn file_names_take_dates_and_widgets() {
        let now = jiff::civil::date(2026, 3, 9).at(7, 5, 2, 0);
        let fill =
            |name: &str| fill_name(name, now, |node, widget| (node == "KSampler").then(|| format!("{widget}:5")));
        assert_eq!(fill("%date:yyyy-MM-dd%/%date:hhmmss%"), "2026-03-09/070502");
        assert_eq!(fill("a_%date:yy-M-d%_%KSampler.seed%"), "a_26-3-9_seed_5");
        assert_eq!(fill("%width%x%No.such% 100%"), "%width%x%No.such% 100%");
    }
}
