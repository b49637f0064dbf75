//! `comfytop measure FILE…`: how well each file loops, without an engine.
//!
//! Never stops at a file that can't be measured: it gets its line too, with the reason.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::text::{clean, json_text};
use crate::verdict::{Curves, Cut, Measurement, Thresholds, Verdict};
use crate::video::{self, Limits, VideoError};

/// What is wanted, and by what it is judged.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// One JSON object a line, not a table.
    pub json: bool,
    /// The curves, too.
    pub curves: bool,
    pub limits: Limits,
    pub thresholds: Thresholds,
}

/// Measures each file and writes a line for it as soon as it is known: one JSON object (its keys
/// are in docs/verbs.md; null = unknown), or a row of a table. True when every file has a number.
///
/// # Errors
/// Of `out` only; a file's error is its note.
pub fn run(files: &[PathBuf], options: &Options, out: &mut dyn Write) -> std::io::Result<bool> {
    let lengths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let table = Table::of(&lengths);
    if !options.json && !files.is_empty() {
        table.head(out)?;
    }
    let mut all = true;
    for path in files {
        let outcome = video::examine(path, &options.limits, &options.thresholds);
        all &= tell(path, &outcome, &table, options, out)?;
    }
    Ok(all)
}

/// What is looked at, and what came of it.
type Outcome = Result<(Measurement, Curves), VideoError>;

/// The line of one file. True when it has a number.
fn tell(
    path: &Path,
    outcome: &Outcome,
    table: &Table,
    options: &Options,
    out: &mut dyn Write,
) -> std::io::Result<bool> {
    let line = Line::of(path, outcome, options.curves);
    if options.json {
        writeln!(out, "{}", json_text(&serde_json::to_string(&line)?))?;
    } else {
        table.row(&line, out)?;
    }
    out.flush()?;
    Ok(line.ssim.is_some())
}

/// Several files side by side, measured already.
///
/// # Errors
/// Of `out`.
pub fn compare(files: &[(&Path, &Outcome)], options: &Options, out: &mut dyn Write) -> std::io::Result<()> {
    let table = Table::of(&files.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    if !options.json {
        table.head(out)?;
    }
    for (path, outcome) in files {
        tell(path, outcome, &table, options, out)?;
    }
    Ok(())
}

/// What is told of one file, under the names that scripts know.
#[derive(Default, Serialize)]
struct Line {
    path: String,
    frames: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    duration: Option<f64>,
    ssim: Option<f64>,
    seam_ratio: Option<f64>,
    motion_ratio: Option<f64>,
    luma_step: Option<f64>,
    chroma_step: Option<f64>,
    doubled: Option<bool>,
    doubled_frames: Option<Vec<u64>>,
    verdict: Verdict,
    advice: Option<String>,
    best_cut: Option<Cut>,
    note: Option<String>,
    #[serde(flatten)]
    curves: Option<Curves>,
}

impl Line {
    fn of(path: &Path, outcome: &Outcome, curves: bool) -> Self {
        let path = path.to_string_lossy().into_owned();
        let (known, all_curves) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Self { path, note: Some(error.to_string()), ..Self::default() },
        };
        let six = |curve: &[f64]| curve.iter().map(|ssim| round(*ssim, 1e6)).collect();
        let curves = curves
            .then(|| Curves { ssim_first: six(&all_curves.ssim_first), ssim_before: six(&all_curves.ssim_before) });
        Self {
            path,
            frames: Some(known.frames),
            width: Some(known.width).filter(|size| *size > 0),
            height: Some(known.height).filter(|size| *size > 0),
            fps: known.fps.map(|fps| round(fps, 1e3)),
            duration: known.duration().map(|seconds| round(seconds, 1e3)),
            ssim: known.ssim.map(|ssim| round(ssim, 1e6)),
            seam_ratio: known.seam_ratio.map(|ratio| round(ratio, 1e3)),
            motion_ratio: known.motion_ratio.map(|ratio| round(ratio, 1e3)),
            luma_step: known.luma_step.map(|step| round(step, 1e3)),
            chroma_step: known.chroma_step.map(|step| round(step, 1e3)),
            doubled: known.doubled(),
            doubled_frames: known.doubled_frames.clone(),
            verdict: known.verdict.unwrap_or_default(),
            advice: known.advice.clone(),
            best_cut: known.best_cut,
            note: known.note.clone(),
            curves,
        }
    }
}

fn round(value: f64, units: f64) -> f64 {
    (value * units).round() / units
}

/// A curve in a line of at most 64 bars, from its lowest to its highest, and those in numbers.
fn drawn(curve: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = curve.iter().copied().fold(f64::INFINITY, f64::min);
    let high = curve.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if curve.is_empty() {
        return "-".to_owned();
    }
    let points = curve.len().min(64);
    let bar = |n: usize| {
        let value = curve.get(n * curve.len() / points).copied().unwrap_or(low);
        let share = if high > low { (value - low) / (high - low) } else { 1.0 };
        let at = BARS.iter().enumerate().rev().find(|(n, _)| share >= f64::from(u8::try_from(*n).unwrap_or(0)) / 8.0);
        at.map_or(BARS[0], |(_, bar)| *bar)
    };
    format!("{}  {low:.3} to {high:.3}", (0..points).map(bar).collect::<String>())
}

/// The table for people; only the paths vary in width, and those are known beforehand.
struct Table {
    path_width: usize,
}

impl Table {
    fn of(files: &[&Path]) -> Self {
        let widths = files.iter().map(|path| clean(&path.to_string_lossy()).width());
        Self { path_width: widths.max().unwrap_or(0).clamp(4, 60) }
    }

    fn head(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let head = ["FRAMES", "     SIZE", "   FPS", "    SSIM", "  SEAM", "VERDICT", "NOTE"].join("  ");
        writeln!(out, "{}  {head}", self.pad("FILE"))
    }

    fn row(&self, line: &Line, out: &mut dyn Write) -> std::io::Result<()> {
        let dash = || "-".to_owned();
        let frames = line.frames.map_or_else(dash, |frames| frames.to_string());
        let size = line.width.zip(line.height).map_or_else(dash, |(width, height)| format!("{width}x{height}"));
        let fps = line.fps.map_or_else(dash, |fps| format!("{}", round(fps, 1e2)));
        let ssim = line.ssim.map_or_else(dash, |ssim| format!("{ssim:.6}"));
        // The noise-proof one where something moves.
        let seam = line.motion_ratio.or(line.seam_ratio).map_or_else(dash, |ratio| format!("{ratio:.2}"));
        let verdict = line.verdict.word();
        let notes: Vec<_> = [&line.advice, &line.note].into_iter().flatten().map(|note| clean(note)).collect();
        let (path, notes) = (self.pad(&clean(&line.path)), notes.join("; "));
        let row = format!("{path}  {frames:>6}  {size:>9}  {fps:>6}  {ssim:>8}  {seam:>6}  {verdict:7}  {notes}");
        writeln!(out, "{}", row.trim_end())?;
        if let Some(curves) = &line.curves {
            writeln!(out, "  to the first frame  {}", drawn(&curves.ssim_first))?;
            writeln!(out, "  to the one before   {}", drawn(&curves.ssim_before))?;
        }
        Ok(())
    }

    /// Filled up to the column's width on screen (CJK takes two cells); a longer path juts out.
    fn pad(&self, text: &str) -> String {
        let gap = self.path_width.saturating_sub(text.width());
        format!("{text}{}", " ".repeat(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_a_line_with_its_reason() {
        let mut out = Vec::new();
        let files = [PathBuf::from("no/such\u{1b}[2J/clip.mp4")];
        assert!(!run(&files, &Options::default(), &mut out).unwrap());
        let table = String::from_utf8(out).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("can't be read") && !table.contains('\u{1b}'), "{table}");
        assert_eq!(lines[0].find("FRAMES").map(|at| at + 6), lines[1].find(" - ").map(|at| at + 2));

        let mut out = Vec::new();
        assert!(!run(&files, &Options { json: true, ..Options::default() }, &mut out).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        let expected = "path frames width height fps duration ssim seam_ratio motion_ratio luma_step chroma_step doubled \
                        doubled_frames verdict advice best_cut note";
        assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
        assert_eq!(json["verdict"], "n/a");
        assert!(json["ssim"].is_null() && json["note"].as_str().unwrap().starts_with("can't be read"));
    }
}
