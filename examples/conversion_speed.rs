//! How long it takes to convert a graph of ComfyUI's page: `bench/run convert` runs it.
//!
//!     cargo run --release --example conversion_speed -- FOLDER
//!
//! FOLDER holds `pairs.jsonl.gz` (one `{"name", "workflow"}` a line) and `object_info.json.gz`. Prints JSON: for the
//! graph whose conversion takes longest, and for all together, milliseconds of the conversion alone (graph and node
//! classes are parsed already) and of parsing the graph's text with it; and what reading `/object_info` takes.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::time::Instant;

use comfytop::workflow::convert::{When, convert};
use comfytop::workflow::object_info::ObjectInfo;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

const ROUNDS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder holds pairs.jsonl.gz and object_info.json.gz?")?;
    let unzipped = |name: &str| std::fs::File::open(Path::new(&folder).join(name)).map(GzDecoder::new);
    let mut text = String::new();
    unzipped("object_info.json.gz")?.read_to_string(&mut text)?;
    let began = Instant::now();
    let info = ObjectInfo::parse(&text)?;
    let read_ms = ms(began);
    let when = When { now: jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0), seed: 0 };

    let mut all = Vec::new();
    for line in BufReader::new(unzipped("pairs.jsonl.gz")?).lines() {
        let pair: Value = serde_json::from_str(&line?)?;
        let text = pair["workflow"].to_string();
        let (mut alone, mut parsed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let workflow: Value = serde_json::from_str(&text)?;
            let middle = Instant::now();
            black_box(convert(&workflow, &info, when))?;
            alone.push(ms(middle));
            parsed.push(ms(began));
        }
        all.push((p50(&mut alone), p50(&mut parsed), pair["name"].to_string(), text.len()));
    }
    let slowest = all.iter().max_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no graphs")?;
    let sum: f64 = all.iter().map(|one| one.0).sum();
    let found = json!({
        "graphs": all.len(),
        "slowest": {"name": slowest.2, "bytes": slowest.3, "convert_ms": slowest.0, "parse_and_convert_ms": slowest.1},
        "all_convert_ms": sum,
        "object_info_ms": read_ms,
    });
    println!("{found}");
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn p50(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
