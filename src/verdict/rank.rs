//! Which of two clips is the better loop: by verdict, then by the numbers.

use std::cmp::Ordering;

use super::judge::Verdict;
use super::measurement::Measurement;

/// The better one is less. By verdict, then SSIM, then how near the seam is to an ordinary step.
#[must_use]
pub fn rank(one: &Measurement, other: &Measurement) -> Ordering {
    let verdict = |known: &Measurement| known.verdict.unwrap_or(Verdict::Unknown);
    // As people see it: digits that nobody sees decide nothing.
    let ssim = |known: &Measurement| known.ssim.map_or(f64::NEG_INFINITY, |ssim| (ssim * 1e3).round());
    let off = |known: &Measurement| known.seam().filter(|seam| *seam > 0.0).map_or(f64::INFINITY, |s| s.ln().abs());
    verdict(one)
        .cmp(&verdict(other))
        .then_with(|| ssim(other).total_cmp(&ssim(one)))
        .then_with(|| off(one).total_cmp(&off(other)))
}

/// Whether the first is the better loop.
#[must_use]
pub fn better(one: &Measurement, other: &Measurement) -> bool {
    rank(one, other) == Ordering::Less
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(verdict: Verdict, ssim: f64, seam: f64) -> Measurement {
        Measurement { verdict: Some(verdict), ssim: Some(ssim), motion_ratio: Some(seam), ..Measurement::default() }
    }

    #[test]
    fn the_verdict_counts_first_then_ssim_then_the_seam() {
        let order = [
            clip(Verdict::Loops, 0.9, 1.3),
            clip(Verdict::Loops, 0.7, 0.9),
            clip(Verdict::Loops, 0.7, 1.4),
            clip(Verdict::Loops, 0.7, 0.0),
            clip(Verdict::Nearly, 0.95, 0.1),
            clip(Verdict::Jumps, 0.99, 3.0),
            clip(Verdict::Still, 1.0, 1.0),
            Measurement::default(),
        ];
        for pair in order.windows(2) {
            assert!(better(&pair[0], &pair[1]) && !better(&pair[1], &pair[0]), "{pair:?}");
        }
        assert!(!better(&order[0], &order[0]));
    }
}
