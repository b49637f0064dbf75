//! Names from outside, made into file names that every system takes and that lead nowhere else.

use crate::text;

/// The longest stem in bytes: with `-9999`, an ending and what other tools add it stays below 255.
const MAX_STEM: usize = 180;
const MAX_ENDING: usize = 10;

/// A file name's stem from any text: no path, no control characters, nothing that Windows refuses,
/// not hidden, not empty, not too long. Letters of every script stay.
#[must_use]
pub fn safe_stem(name: &str) -> String {
    let cleaned = text::clean(name);
    let mut stem: String = cleaned
        .chars()
        .map(|c| if matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();
    stem.truncate(stem.floor_char_boundary(MAX_STEM));
    let stem = stem.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    if stem.is_empty() {
        return "output".to_owned();
    }
    if reserved(stem) { format!("_{stem}") } else { stem.to_owned() }
}

/// `.mp4` of a file name from a server, or nothing where it has no plain ending.
#[must_use]
pub fn safe_ending(file_name: &str) -> String {
    match file_name.rsplit_once('.') {
        Some((_, ending))
            if !ending.is_empty()
                && ending.len() <= MAX_ENDING
                && ending.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            format!(".{}", ending.to_ascii_lowercase())
        }
        _ => String::new(),
    }
}

/// Windows' device names, with whatever ending.
fn reserved(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or(stem).trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        first.strip_prefix(prefix).is_some_and(|n| {
            let mut digits = n.chars();
            matches!(digits.next(), Some('1'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        })
    };
    matches!(first.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_anywhere_else() {
        for (name, safe) in [
            ("reading_loop", "reading_loop"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/abs", "_abs"),
            ("C:\\x", "C__x"),
            ("a\u{1b}[2Jb\n", "a [2Jb"),
            ("..", "output"),
            ("", "output"),
            (".hidden", "hidden"),
            ("trailing. . ", "trailing"),
            ("con", "_con"),
            ("Nul.v2", "_Nul.v2"),
            ("COM1", "_COM1"),
            ("COM10", "COM10"),
            ("what?*", "what__"),
            ("一人の少女 🐈", "一人の少女 🐈"),
        ] {
            assert_eq!(safe_stem(name), safe, "{name:?}");
        }
        for count in [200, 300] {
            let long = safe_stem(&"漢".repeat(count));
            assert!(long.len() <= MAX_STEM && long.chars().all(|c| c == '漢'));
            // with what `claim` and other tools add to it
            assert!(format!("{long}-9999.veryverylo.result.json").len() <= 255);
        }
    }

    #[test]
    fn only_a_plain_ending_is_kept() {
        for (name, ending) in [
            ("x_00001_.mp4", ".mp4"),
            ("x.PNG", ".png"),
            ("x", ""),
            ("x.", ""),
            ("a.b/../c", ""),
            ("x.mp4:stream", ""),
            ("x.veryverylongending", ""),
        ] {
            assert_eq!(safe_ending(name), ending, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_the_stem_is_one_plain_name(name in "\\PC{0,300}|[./\\\\:\u{0}-\u{20}a]{0,20}") {
            let stem = safe_stem(&name);
            proptest::prop_assert!(!stem.is_empty() && stem.len() <= MAX_STEM + 1);
            proptest::prop_assert_eq!(std::path::Path::new(&stem).components().count(), 1);
            proptest::prop_assert!(!stem.starts_with('.') && !stem.contains(['/', '\\', ':', '\0']));
        }
    }
}
