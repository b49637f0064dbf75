//! Numbers as people read them: durations, clocks, sizes.
//!
//! Pure. Each keeps its width as far as it can, so that a column of them stands still.

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use crate::text::duration;

pub use crate::text::size_words as size;

/// The time of day, `HH:MM`.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    let t = at.to_zoned(zone.clone());
    format!("{:02}:{:02}", t.hour(), t.minute())
}

/// A moment that may lie days back: `HH:MM`, or with its day where that is not today.
pub fn moment(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (t, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    if t.date() == today.date() {
        clock(at, zone)
    } else {
        format!("{:04}-{:02}-{:02} {}", t.year(), t.month(), t.day(), clock(at, zone))
    }
}

/// An estimated moment: `~14:07` within a day, `~34 d` beyond.
pub fn about(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let ahead = at.duration_since(now).as_secs();
    if ahead < 86_400 { format!("~{}", clock(at, zone)) } else { format!("~{} d", ahead / 86_400) }
}

/// Memory as people name cards: `12.0` for a "12 GB" card (1 GB = 2³⁰ bytes here).
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}

/// A share as whole percent, 0 to 100; never 100 before it is whole.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..100 first")]
pub fn percent(fraction: f64) -> u8 {
    if fraction.is_nan() { 0 } else { (fraction.clamp(0.0, 1.0) * 100.0).floor() as u8 }
}

/// A bar of `width` cells, filled to eighths of a cell.
pub fn bar(fraction: f64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = eighths(fraction, width);
    let part = PARTS.get(eighths % 8).copied().unwrap_or_default();
    let used = eighths / 8 + usize::from(!part.is_empty());
    format!("{}{part}{}", "█".repeat(eighths / 8), " ".repeat(width.saturating_sub(used)))
}

/// How many eighths of a cell a bar of `width` cells fills.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to a screen's width"
)]
pub fn eighths(fraction: f64, width: usize) -> usize {
    if fraction.is_nan() { 0 } else { (fraction.clamp(0.0, 1.0) * (width * 8) as f64).floor() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_clocks() {
        assert_eq!(duration(0.9), "0:00");
        assert_eq!(duration(41.0), "0:41");
        assert_eq!(duration(3723.0), "1:02:03");
        assert_eq!(duration(f64::NAN), "0:00");
        assert_eq!(duration(-3.0), "0:00");
    }

    #[test]
    fn bars_keep_their_width() {
        for n in 0..=200 {
            let bar = bar(f64::from(n) / 200.0, 10);
            assert_eq!(bar.chars().count(), 10, "{n}: {bar}");
        }
        assert_eq!(bar(0.25, 2), "▌ ");
        assert_eq!(bar(f64::NAN, 2), "  ");
        assert_eq!(bar(1.0, 3), "███");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(820), "820 B");
        assert_eq!(size(14_200), "14 kB");
        assert_eq!(size(1_240_000), "1.2 MB");
        assert_eq!(gigabytes(12_884_901_888), "12.0");
        assert_eq!(percent(0.999), 99);
    }
}
