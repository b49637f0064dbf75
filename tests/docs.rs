//! What the documents say, held against the code: links lead somewhere, examples can be read, and
//! lists are complete.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use comfytop::config::Config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file.as_ref());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All `.md` files of the crate, relative to it; hidden folders, `target` and render folders are not looked into.
fn documents() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !matches!(name.as_str(), "target" | "outputs") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    found
}

/// A document's lines, those inside code fences left out.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The contents of all code fences of a language.
fn fences(text: &str, language: &str) -> Vec<String> {
    text.split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}

/// The targets of `[text](target)` and `![text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // What stands between backticks is shown, not followed.
        let shown: String = line.split('`').step_by(2).collect();
        for piece in shown.split("](").skip(1) {
            if let Some(target) = piece.split([')', ' ']).next() {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The anchors that a page makes of its headings: small letters and digits, spaces to hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The first cells of a table's rows that are code: ``| `key` | …``.
fn listed(text: &str) -> Vec<&str> {
    prose(text).filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents = documents();
    assert!(documents.contains(&PathBuf::from("README.md")), "the documents were not found");
    let mut broken = Vec::new();
    for document in &documents {
        let text = read(document);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let there = root().join(&target).exists();
            let is_page = target.extension().is_some_and(|end| end == "md");
            if !there || (is_page && !anchor.is_empty() && !anchors(&read(&target)).contains(anchor)) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn a_broken_link_would_be_seen() {
    let text = "# A `b` c!\nsee [x](a.md#b) ![y](c.png)\n```\n[no](z.md)\n```\nnot `[this](w.md)` but [that](d.md)";
    assert_eq!(links(text), ["a.md#b", "c.png", "d.md"]);
    assert!(anchors(text).contains("a-b-c"));
}

#[test]
fn every_direct_dependency_has_its_line_and_no_other_has() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mut named = BTreeSet::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|all| all.values());
    for table in targets.filter_map(toml::Value::as_table).chain([&manifest]) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let crates = table.get(kind).and_then(toml::Value::as_table);
            named.extend(crates.into_iter().flat_map(|crates| crates.keys().cloned()));
        }
    }
    // Itself, for its tests.
    named.remove("comfytop");
    let text = read("docs/dependencies.md");
    let lines: BTreeSet<String> = listed(&text).into_iter().map(str::to_owned).collect();
    assert!(named.len() > 10, "the dependencies were not found");
    let missing: Vec<_> = named.difference(&lines).collect();
    let gone: Vec<_> = lines.difference(&named).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
    assert!(gone.is_empty(), "docs/dependencies.md still speaks of {gone:?}");
}

#[test]
fn the_settings_that_are_documented_can_be_read() {
    let text = read("docs/config.md");
    let examples = fences(&text, "toml");
    assert!(!examples.is_empty(), "docs/config.md has no example");
    for example in examples {
        Config::parse(&example, "docs/config.md").unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

/// Asks the settings themselves which keys there are: an unknown key's error names them.
#[test]
fn every_setting_is_documented_and_in_the_example() {
    let text = read("docs/config.md");
    let example = fences(&text, "toml").remove(0);
    let keys_of = |table: &str| -> Vec<String> {
        let error = Config::parse(&format!("{table}\nno_such_key = 1"), "x").unwrap_err().to_string();
        let (_, keys) = error.split_once("keys here: ").unwrap_or_else(|| panic!("{table}: {error}"));
        keys.split(", ").map(str::to_owned).collect()
    };
    for table in keys_of("") {
        let heading =
            if matches!(table.as_str(), "server" | "inbox") { format!("[[{table}]]") } else { format!("[{table}]") };
        let section = text.split("\n## ").find(|section| section.starts_with(&format!("`{heading}`")));
        let section = section.unwrap_or_else(|| panic!("docs/config.md has no section `{heading}`"));
        let documented: BTreeSet<&str> = listed(section).into_iter().collect();
        let keys = keys_of(&heading);
        assert_eq!(documented, keys.iter().map(String::as_str).collect(), "docs/config.md, {heading}");
        let shown = example.split("\n[").filter(|part| format!("[{part}").contains(&heading)).collect::<String>();
        for key in keys {
            assert!(shown.contains(&format!("\n{key} = ")), "docs/config.md: the example lacks `{key}` of {heading}");
        }
    }
}

#[test]
fn the_defaults_that_are_documented_are_the_defaults() {
    let text = read("docs/config.md");
    let mut written = String::new();
    for table in ["queue", "retry", "keep", "outputs", "verdict", "ui"] {
        let section = text.split("\n## ").find(|section| section.starts_with(&format!("`[{table}]`"))).unwrap();
        writeln!(written, "[{table}]").unwrap();
        for row in prose(section).filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let (key, default) = (cells[1], cells[2]);
            // Times have their defaults where they are used; paths are texts.
            let is_text = matches!(key, "path" | "after_restart" | "on_stall" | "pictures");
            let quoted = if is_text { format!("\"{default}\"") } else { default.to_owned() };
            if !matches!(default, "off" | "none") && !matches!(key, "post_grace" | "quiet" | "stall") {
                writeln!(written, "{key} = {quoted}").unwrap();
            }
        }
    }
    assert_eq!(Config::parse(&written, "docs/config.md").unwrap(), Config::default(), "{written}");
}

/// CI runs what the README promises, read out of the README.
#[test]
fn the_readme_says_how_to_test() {
    let commands = fences(&read("README.md"), "sh").join("\n");
    assert_eq!(commands.lines().filter(|line| line.starts_with("cargo test")).count(), 1, "{commands}");
    assert!(commands.lines().any(|line| line == "cargo run --release -- demo"), "{commands}");
}

/// `UPDATE_DOCS=1 cargo test --test docs` writes it anew.
#[test]
fn the_schema_of_job_files_is_current() {
    let schema = format!("{:#}\n", comfytop::job_file::schema::schema());
    let path = root().join("docs/job.schema.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    assert_eq!(read("docs/job.schema.json"), schema, "docs/job.schema.json: run this test with UPDATE_DOCS=1");
}
