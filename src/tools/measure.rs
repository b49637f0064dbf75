//! `comfytop measure FILE…`: how well each file loops, without an engine.
//!
//! Never stops at a file that can't be measured: it gets its line too, with the reason.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::text::{clean, json_text};
use crate::verdict::Measurement;
use crate::video::{self, Limits, VideoError};

/// Measures each file and writes a line for it as soon as it is known: one JSON object with
/// `path, frames, width, height, fps, ssim, note` (null = unknown), or a row of a table.
/// True when every file has a number.
///
/// # Errors
/// Of `out` only; a file's error is its note.
pub fn run(files: &[PathBuf], json: bool, out: &mut dyn Write) -> std::io::Result<bool> {
    run_with(files, json, &Limits::default(), out)
}

/// [`run`] with other limits than the usual.
///
/// # Errors
/// As [`run`].
pub fn run_with(files: &[PathBuf], json: bool, limits: &Limits, out: &mut dyn Write) -> std::io::Result<bool> {
    let table = Table::of(files);
    if !json && !files.is_empty() {
        table.head(out)?;
    }
    let mut all = true;
    for path in files {
        let outcome = video::measure(path, limits);
        let line = Line::of(path, &outcome);
        all &= line.ssim.is_some();
        if json {
            writeln!(out, "{}", json_text(&serde_json::to_string(&line)?))?;
        } else {
            table.row(&line, out)?;
        }
        out.flush()?;
    }
    Ok(all)
}

/// What is told of one file, under the names that scripts know.
#[derive(Serialize)]
struct Line {
    path: String,
    frames: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    ssim: Option<f64>,
    note: Option<String>,
}

impl Line {
    fn of(path: &Path, outcome: &Result<Measurement, VideoError>) -> Self {
        let path = path.to_string_lossy().into_owned();
        match outcome {
            Ok(known) => Self {
                path,
                frames: Some(known.frames),
                width: Some(known.width).filter(|size| *size > 0),
                height: Some(known.height).filter(|size| *size > 0),
                fps: known.fps.map(|fps| round(fps, 1e3)),
                ssim: known.ssim.map(|ssim| round(ssim, 1e6)),
                note: known.note.clone(),
            },
            Err(error) => {
                let note = Some(error.to_string());
                Self { path, frames: None, width: None, height: None, fps: None, ssim: None, note }
            }
        }
    }
}

fn round(value: f64, units: f64) -> f64 {
    (value * units).round() / units
}

/// The table for people; only the paths vary in width, and those are known beforehand.
struct Table {
    path_width: usize,
}

impl Table {
    fn of(files: &[PathBuf]) -> Self {
        let widths = files.iter().map(|path| clean(&path.to_string_lossy()).width());
        Self { path_width: widths.max().unwrap_or(0).clamp(4, 60) }
    }

    fn head(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}  {:>6}  {:>9}  {:>6}  {:>8}  NOTE", self.pad("FILE"), "FRAMES", "SIZE", "FPS", "SSIM")
    }

    fn row(&self, line: &Line, out: &mut dyn Write) -> std::io::Result<()> {
        let dash = || "-".to_owned();
        let frames = line.frames.map_or_else(dash, |frames| frames.to_string());
        let size = line.width.zip(line.height).map_or_else(dash, |(width, height)| format!("{width}x{height}"));
        let fps = line.fps.map_or_else(dash, |fps| format!("{}", round(fps, 1e2)));
        let ssim = line.ssim.map_or_else(dash, |ssim| format!("{ssim:.6}"));
        let note = clean(line.note.as_deref().unwrap_or_default());
        let row = format!("{}  {frames:>6}  {size:>9}  {fps:>6}  {ssim:>8}  {note}", self.pad(&clean(&line.path)));
        writeln!(out, "{}", row.trim_end())
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
        assert!(!run(&files, false, &mut out).unwrap());
        let table = String::from_utf8(out).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("can't be read") && !table.contains('\u{1b}'), "{table}");
        assert_eq!(lines[0].find("FRAMES").map(|at| at + 6), lines[1].find(" - ").map(|at| at + 2));

        let mut out = Vec::new();
        assert!(!run(&files, true, &mut out).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["path", "frames", "width", "height", "fps", "ssim", "note"]);
        assert!(json["ssim"].is_null() && json["note"].as_str().unwrap().starts_with("can't be read"));
    }
}
