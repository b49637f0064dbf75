//! Job files: the JSON that people drop into an inbox, read into [`JobSpec`]s.
//!
//! Pure: bytes in, jobs or one [`JobFileError`] out. It knows the keys that are ours and leaves
//! every other one as a slot; whether a workflow has such a slot is said by
//! [`crate::workflow::Workflow::fill`]. It never opens a file. `docs/jobs.md` shows the format.

mod locate;
mod write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use unicode_width::UnicodeWidthStr;

use crate::text;

pub use write::text_of;

/// Larger job files are refused unread.
pub const MAX_BYTES: u64 = 16 << 20;
/// More jobs than this in one file are refused.
pub const MAX_JOBS: usize = 1000;
/// The longest job name, in characters.
pub const MAX_NAME: usize = 200;
/// The highest priority, and with a minus the lowest.
pub const MAX_PRIORITY: i64 = 1_000_000;

/// The keys of a job that are not slots.
pub const OWN_KEYS: &[&str] = &[
    "workflow", "name", "set", "priority", "note", "server", "hold", "after", "tags", "repeat", "sweep", "until",
    "best_of", "repair",
];

/// Those of [`OWN_KEYS`] whose meaning is decided but not built: refused, so that no file relies on
/// their being ignored.
const NOT_YET: &[&str] = &["after", "repeat", "sweep", "until", "best_of", "repair"];

/// One job as its file asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub workflow: Source,
    /// What the job and its outputs are called; the file's name where left out.
    pub name: Option<String>,
    /// Every key that is not one of ours, in the order of the file.
    #[serde(default)]
    pub slots: Map<String, Value>,
    /// Edits of single inputs: `"14.cfg": 1.0`.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// Higher goes first; 0 where left out. Between -[`MAX_PRIORITY`] and [`MAX_PRIORITY`].
    #[serde(default)]
    pub priority: i64,
    pub note: Option<String>,
    /// The only server that may render it, by name.
    pub server: Option<String>,
    #[serde(default)]
    pub hold: bool,
    /// Jobs to wait for. Always empty: the key is refused until waiting is built.
    #[serde(default)]
    pub after: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What is to be rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A workflow by name; `None` = the inbox's own.
    Named(Option<String>),
    /// A graph in API format that came in the job file itself.
    Graph(Map<String, Value>),
}

/// A place in a job file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A job file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{message}", place.map(|p| format!("line {}, column {}: ", p.line, p.column)).unwrap_or_default())]
pub struct JobFileError {
    /// What is wrong and how to mend it; one line, fit to show.
    pub message: String,
    /// `None` where the file as a whole is wrong.
    pub place: Option<Place>,
    /// The line it is in with a caret below; empty without a place.
    pub excerpt: String,
}

impl JobFileError {
    fn whole(message: impl AsRef<str>) -> Self {
        Self { message: text::clean(message.as_ref()).into_owned(), place: None, excerpt: String::new() }
    }

    fn at(file: &str, place: Place, offset: usize, message: impl AsRef<str>) -> Self {
        let excerpt = excerpt(file, place.line, offset);
        Self { place: Some(place), excerpt, ..Self::whole(message) }
    }
}

/// True when the bytes are one whole JSON value: a file still being written is not.
#[must_use]
pub fn is_complete(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(without_bom(bytes)).is_ok()
}

/// Reads a job file: one object is one job, an array is several, a graph in API format is a job as it is.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(bytes: &[u8]) -> Result<Vec<JobSpec>, JobFileError> {
    let file = decode(bytes)?;
    let value: Value = serde_json::from_str(file).map_err(|error| syntax_error(file, &error))?;
    match value {
        Value::Array(items) => {
            if items.is_empty() {
                return Err(JobFileError::whole("the list holds no jobs"));
            }
            if items.len() > MAX_JOBS {
                return Err(JobFileError::whole(format!(
                    "{} jobs in one file; at most {MAX_JOBS} are taken: split it",
                    items.len()
                )));
            }
            let places = Places::of(file);
            let reader = |job| Reader { places: &places, job };
            items.into_iter().enumerate().map(|(index, item)| reader(index).job(item)).collect()
        }
        single => Ok(vec![Reader { places: &Places::of(file), job: 0 }.job(single)?]),
    }
}

/// Where the jobs of a file stand in its text, found in one walk: for errors.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    file: &'a str,
    jobs: Vec<locate::Spot>,
}

impl<'a> Places<'a> {
    /// Of a job file's bytes; nothing has a place in bytes that are no text.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::of(decode(bytes).unwrap_or_default())
    }

    fn of(file: &'a str) -> Self {
        Self { file, jobs: locate::jobs(file) }
    }

    /// The same error as [`parse`] makes, for something found wrong later (a slot, say): `path` leads to it
    /// within the job with this index, `["set", "14.cfg"]`. What is not there (a slot that is missing) has
    /// the place of its job.
    #[must_use]
    pub fn error(&self, job: usize, path: &[&str], message: &str) -> JobFileError {
        let Some(start) = self.jobs.get(job) else { return JobFileError::whole(message) };
        let spot = match locate::offset(self.file, start.offset, path) {
            Some(offset) => start.on(self.file, offset),
            None => *start,
        };
        JobFileError::at(self.file, Place { line: spot.line, column: spot.column }, spot.offset, message)
    }
}

/// The line with its number and a caret below the character at `offset`; a long line is cut round the caret.
fn excerpt(file: &str, line: usize, offset: usize) -> String {
    const AROUND: usize = 44;
    let (before, after) = file.split_at(file.floor_char_boundary(offset));
    let mut back = before.chars().rev().take_while(|c| *c != '\n');
    let mut head: Vec<char> = back.by_ref().take(AROUND).collect();
    head.reverse();
    let lead = if back.next().is_some() { "…" } else { "" };
    let mut rest = after.chars().take_while(|c| *c != '\n');
    let tail: Vec<char> = rest.by_ref().take(2 * AROUND - head.len()).collect();
    let more = if rest.next().is_some_and(|c| c != '\r') { "…" } else { "" };
    // each character by itself, so that what `clean` drops or widens cannot shift the caret
    let shown = |chars: &[char]| -> String {
        let show = |c: &char| {
            let probe = format!("x{c}x");
            if text::clean(&probe) == probe { *c } else { ' ' }
        };
        chars.iter().map(show).collect()
    };
    let head = shown(&head);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let pad = " ".repeat(lead.width() + head.width());
    let source = format!("{head}{}", shown(&tail));
    format!("{number} | {lead}{}{more}\n{margin} | {pad}^", source.trim_end())
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn decode(bytes: &[u8]) -> Result<&str, JobFileError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(JobFileError::whole(format!(
            "the file has {} bytes; a job file has at most {} MiB",
            bytes.len(),
            MAX_BYTES >> 20
        )));
    }
    let bytes = without_bom(bytes);
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(JobFileError::whole("the file is UTF-16 (Windows PowerShell's `>` writes that): save it as UTF-8"));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(JobFileError::whole("the file is empty"));
    }
    if bytes.contains(&0) {
        return Err(JobFileError::whole("the file is binary, not JSON"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        JobFileError::whole(format!("the file is not UTF-8 text (line {line}): save it as UTF-8"))
    })
}

/// What `serde_json` says, its place counted in characters, and a hint for the usual slips.
fn syntax_error(file: &str, error: &serde_json::Error) -> JobFileError {
    let full = error.to_string();
    let said = full.split(" at line ").next().unwrap_or(&full);
    let line = error.line().max(1);
    let start: usize = file.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let source = file.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    // serde_json counts bytes, and stands on the last byte it has read
    let wrong_at = source.floor_char_boundary(error.column().saturating_sub(1));
    let column = source.get(..wrong_at).map_or(1, |before| before.chars().count() + 1);
    let here = source.get(wrong_at..).and_then(|rest| rest.chars().next());
    let hint = match (said, here) {
        (said, _) if said.starts_with("EOF") => "; the file ends too early",
        ("invalid escape", _) => "; write a backslash as \\\\, or paths with /",
        (said, _) if said.starts_with("control character") => "; a line break in a text is written \\n",
        ("trailing comma", _) => "; take the last comma away",
        (_, Some('/' | '#')) => "; JSON has no comments",
        (_, Some('\'' | '“' | '”' | '„' | '‘' | '’')) => "; JSON wants straight double quotes: \"…\"",
        (_, Some('N' | 'I' | 'T' | 'F')) => "; JSON knows only true, false, null and finite numbers",
        _ => "",
    };
    JobFileError::at(file, Place { line, column }, start + wrong_at, format!("not JSON: {said}{hint}"))
}

/// Reads one job of a file.
struct Reader<'a> {
    places: &'a Places<'a>,
    /// Its index.
    job: usize,
}

impl Reader<'_> {
    fn error(&self, path: &[&str], message: impl AsRef<str>) -> JobFileError {
        self.places.error(self.job, path, message.as_ref())
    }

    fn job(&self, value: Value) -> Result<JobSpec, JobFileError> {
        let Value::Object(mut map) = value else {
            return Err(self.error(&[], format!("a job is an object, {{…}}, not {}", kind(&value))));
        };
        if is_page_graph(&map) {
            return Err(self.error(&[], PAGE_GRAPH));
        }
        let mut spec = JobSpec {
            workflow: Source::Named(None),
            name: None,
            slots: Map::new(),
            set: Map::new(),
            priority: 0,
            note: None,
            server: None,
            hold: false,
            after: Vec::new(),
            tags: Vec::new(),
        };
        if is_api_graph(&map) {
            spec.workflow = Source::Graph(map);
            return Ok(spec);
        }
        if map.is_empty() {
            return Err(self.error(&[], "the job is empty: name a workflow and fill its slots"));
        }
        if let Some(key) = map.keys().find(|key| NOT_YET.contains(&key.as_str())) {
            return Err(
                self.error(&[key], format!("`{key}` is a key of a later version: it is not built yet, take it out"))
            );
        }
        // remove() would swap the last key into the gap; the order of the slots is to stay
        if let Some(value) = map.shift_remove("workflow") {
            spec.workflow = self.source(value)?;
        }
        spec.name = self.text("name", map.shift_remove("name"))?;
        if let Some(name) = &spec.name {
            let length = name.chars().count();
            if length > MAX_NAME {
                return Err(
                    self.error(&["name"], format!("`name` has {length} characters; at most {MAX_NAME} are taken"))
                );
            }
        }
        spec.note = self.text("note", map.shift_remove("note"))?;
        spec.server = self.text("server", map.shift_remove("server"))?;
        if let Some(value) = map.shift_remove("set") {
            spec.set = self.set(value)?;
        }
        if let Some(value) = map.shift_remove("priority") {
            spec.priority = self.priority(&value)?;
        }
        if let Some(value) = map.shift_remove("hold") {
            spec.hold = value.as_bool().ok_or_else(|| self.wrong("hold", "true or false", &value))?;
        }
        if let Some(value) = map.shift_remove("tags") {
            spec.tags = serde_json::from_value(value.clone())
                .map_err(|_| self.wrong("tags", "a list of texts, [\"a\", \"b\"]", &value))?;
        }
        spec.slots = map;
        Ok(spec)
    }

    fn source(&self, value: Value) -> Result<Source, JobFileError> {
        match value {
            Value::String(name) if name.trim().is_empty() => Err(self.error(&["workflow"], "`workflow` is empty")),
            Value::String(name) => Ok(Source::Named(Some(name))),
            Value::Object(map) if is_page_graph(&map) => Err(self.error(&["workflow"], PAGE_GRAPH)),
            Value::Object(map) if is_api_graph(&map) => Ok(Source::Graph(map)),
            other => Err(self.wrong("workflow", "the name of a workflow, or a graph in API format", &other)),
        }
    }

    fn priority(&self, value: &Value) -> Result<i64, JobFileError> {
        let number = value.as_number().filter(|n| !n.is_f64());
        let number = number.ok_or_else(|| self.wrong("priority", "a whole number, 0 being usual", value))?;
        number.as_i64().filter(|p| (-MAX_PRIORITY..=MAX_PRIORITY).contains(p)).ok_or_else(|| {
            self.error(
                &["priority"],
                format!("`priority` is {number}: it lies between -{MAX_PRIORITY} and {MAX_PRIORITY}, 0 being usual"),
            )
        })
    }

    fn text(&self, key: &str, value: Option<Value>) -> Result<Option<String>, JobFileError> {
        match value {
            None => Ok(None),
            // control characters alone are nothing to show either
            Some(Value::String(text)) if text::clean(&text).is_empty() => {
                Err(self.error(&[key], format!("`{key}` is empty: fill it or leave it out")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a text, \"…\"", &other)),
        }
    }

    fn set(&self, value: Value) -> Result<Map<String, Value>, JobFileError> {
        let Value::Object(set) = value else {
            return Err(self.wrong("set", "an object, {\"14.cfg\": 1.0}", &value));
        };
        for key in set.keys() {
            if !key.split_once('.').is_some_and(|(node, input)| !node.is_empty() && !input.is_empty()) {
                return Err(self.error(
                    &["set", key],
                    format!("`{key}` names no input: write node id, dot, input, as in \"14.cfg\""),
                ));
            }
        }
        Ok(set)
    }

    fn wrong(&self, key: &str, wanted: &str, value: &Value) -> JobFileError {
        self.error(&[key], format!("`{key}` must be {wanted}, not {}", kind(value)))
    }
}

/// What is said of a graph in the format of ComfyUI's page.
pub(crate) const PAGE_GRAPH: &str = "this is a graph as ComfyUI's page saves it, which a server does not run; \
    in ComfyUI use Workflow > Export (API) and take that file";

/// The format that ComfyUI's page saves: a list of nodes and one of links.
pub(crate) fn is_page_graph(map: &Map<String, Value>) -> bool {
    map.get("nodes").is_some_and(Value::is_array) && map.contains_key("links")
}

/// The API format: every value is a node. One that is not makes it a broken graph, not a job with slots.
fn is_api_graph(map: &Map<String, Value>) -> bool {
    map.values().any(|node| node.get("class_type").is_some_and(Value::is_string))
}

/// A JSON value's kind in words, with the value where it is short.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(it) => it.to_string(),
        Value::Number(it) => format!("the number {it}"),
        Value::String(it) if it.chars().count() <= 40 => format!("the text \"{it}\""),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> JobSpec {
        let mut jobs = parse(text.as_bytes()).expect("a job");
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    fn error(bytes: impl AsRef<[u8]>) -> JobFileError {
        parse(bytes.as_ref()).expect_err("an error")
    }

    fn place(line: usize, column: usize) -> Place {
        Place { line, column }
    }

    #[test]
    fn the_shape_people_already_have_works_as_it_stands() {
        let job = one(
            r#"{"workflow": "wan2.2-i2v-loop", "name": "reading_loop", "image": "reading_start.png", "prompt": "turning a page …", "seed": 123}"#,
        );
        assert_eq!(job.workflow, Source::Named(Some("wan2.2-i2v-loop".into())));
        assert_eq!(job.name.as_deref(), Some("reading_loop"));
        assert_eq!(job.slots.keys().collect::<Vec<_>>(), ["image", "prompt", "seed"]);
        assert_eq!(job.slots["seed"], json!(123));
        assert_eq!((job.priority, job.hold), (0, false));
    }

    #[test]
    fn our_own_keys_are_no_slots() {
        let job = one(
            r#"{"set": {"14.cfg": 1.5}, "priority": -3, "note": "n", "server": "attic", "hold": true, "tags": ["a"], "x": 1}"#,
        );
        assert_eq!(job.set["14.cfg"], json!(1.5));
        assert_eq!((job.priority, job.hold), (-3, true));
        assert_eq!((job.note.as_deref(), job.server.as_deref()), (Some("n"), Some("attic")));
        assert_eq!(job.tags, ["a"]);
        assert_eq!(job.slots.keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn a_list_is_several_jobs_each_with_its_place() {
        let file = b"\xEF\xBB\xBF[{\"a\": 1},\n  {\"b\": 2},\n\n{\"c\": 3}]";
        assert_eq!(parse(file).expect("jobs").len(), 3);
        let places = Places::new(file);
        let places = (0..3).map(|job| places.error(job, &[], "").place);
        assert_eq!(places.collect::<Vec<_>>(), [(1, 2), (2, 3), (4, 1)].map(|(l, c)| Some(place(l, c))));
    }

    #[test]
    fn a_large_file_is_walked_once_and_not_for_each_of_its_jobs() {
        // 16 MB on one line: walked for each job, this takes minutes
        let job = format!("{{\"prompt\": \"{}\", \"sed\": 1}}", "x".repeat(16_000));
        let file = format!("[{}]", vec![job.as_str(); MAX_JOBS].join(", "));
        assert_eq!(parse(file.as_bytes()).expect("jobs").len(), MAX_JOBS);
        let places = Places::new(file.as_bytes());
        for index in 0..MAX_JOBS {
            let error = places.error(index, &["sed"], "no such slot");
            let column = 2 + index * (job.len() + 2) + job.len() - "\"sed\": 1}".len();
            assert_eq!(error.place, Some(place(1, column)), "{index}");
            let line = error.excerpt.lines().next().expect("a line").to_owned();
            assert!(line.contains("\"sed\": 1}"), "{line}");
        }
    }

    #[test]
    fn a_graph_is_a_job_alone_or_under_workflow() {
        let graph = r#"{"3": {"class_type": "SaveImage", "inputs": {}}}"#;
        assert!(matches!(one(graph).workflow, Source::Graph(map) if map.contains_key("3")));
        let job = one(&format!(r#"{{"workflow": {graph}, "name": "x", "set": {{"3.a": 1}}}}"#));
        assert!(matches!(job.workflow, Source::Graph(_)));
        assert_eq!(job.name.as_deref(), Some("x"));
    }

    #[test]
    fn a_graph_of_the_page_is_refused_with_the_words_that_help() {
        for text in [r#"{"nodes": [], "links": []}"#, r#"{"workflow": {"nodes": [], "links": []}}"#] {
            assert!(error(text).message.contains("Export (API)"), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_says_where() {
        let e = error("{\n  \"prompt\": \"一二三\" \"seed\": 1\n}");
        assert_eq!(e.place, Some(place(2, 19)));
        assert_eq!(e.excerpt, "2 |   \"prompt\": \"一二三\" \"seed\": 1\n  |                      ^");
        assert!(e.to_string().starts_with("line 2, column 19: not JSON: expected `,` or `}`"), "{e}");
        for (text, hint) in [
            ("{\"a\": 1,}", "last comma"),
            ("{\"a\": ", "ends too early"),
            ("{'a': 1}", "double quotes"),
            ("{“a”: 1}", "double quotes"),
            ("{\"a\": \"C:\\pics\"}", "backslash"),
            ("{\"a\": \"x\ny\"}", "\\n"),
            ("{\"a\": 1 // one\n}", "comments"),
            ("{\"a\": NaN}", "finite"),
            ("not json at all", "not JSON"),
        ] {
            assert!(error(text).message.contains(hint), "{text}: {}", error(text));
        }
    }

    #[test]
    fn the_wrong_shape_points_at_the_key() {
        for (text, at, words) in [
            ("5", Some(place(1, 1)), "not the number 5"),
            ("[{\"a\":1},\n [2]]", Some(place(2, 2)), "not a list"),
            ("[]", None, "no jobs"),
            ("{}", Some(place(1, 1)), "empty"),
            ("{\"name\":\n 5}", Some(place(1, 2)), "`name` must be a text"),
            ("{\"a\": 1,\n  \"priority\": 1.5}", Some(place(2, 3)), "whole number"),
            ("{\"priority\": -9223372036854775808}", Some(place(1, 2)), "between -1000000 and 1000000"),
            ("{\"priority\": 18446744073709551615}", Some(place(1, 2)), "between -1000000 and 1000000"),
            ("{\"priority\": 1000001}", Some(place(1, 2)), "between -1000000 and 1000000"),
            ("{\"name\": \"\\u001b\\u0007 \"}", Some(place(1, 2)), "`name` is empty"),
            ("{\"hold\": \"yes\"}", Some(place(1, 2)), "true or false"),
            ("{\"tags\": \"a\"}", Some(place(1, 2)), "list of texts"),
            ("{\"workflow\": 3}", Some(place(1, 2)), "name of a workflow"),
            ("{\"workflow\": \" \"}", Some(place(1, 2)), "empty"),
            ("{\"set\": []}", Some(place(1, 2)), "an object"),
            ("{\"set\": {\"14.cfg\": 1,\n\"cfg\": 2}}", Some(place(2, 1)), "node id"),
        ] {
            let e = error(text);
            assert_eq!(e.place, at, "{text}");
            assert!(e.message.contains(words), "{text}: {e}");
        }
    }

    #[test]
    fn keys_of_later_versions_are_refused_by_name() {
        for key in NOT_YET {
            let e = error(format!("{{\"{key}\": 1}}"));
            assert!(e.message.contains(key) && e.message.contains("not built yet"), "{e}");
        }
    }

    #[test]
    fn files_that_are_no_text_are_refused() {
        for (bytes, words) in [
            (&b""[..], "empty"),
            (b"\xEF\xBB\xBF \n", "empty"),
            (b"\x89PNG\r\n\x00\x01", "binary"),
            (b"{\"a\": \"\xFF\"}", "not UTF-8"),
            (b"\xFF\xFE{\x00", "UTF-16"),
        ] {
            assert!(error(bytes).message.contains(words), "{bytes:?}: {}", error(bytes));
        }
        let mut huge = b"{\"a\": \"".to_vec();
        huge.resize(17 << 20, b'x');
        assert!(error(huge).message.contains("16 MiB"));
        let many = format!("[{}]", vec!["{\"a\":1}"; MAX_JOBS + 1].join(","));
        assert!(error(many).message.contains("1001 jobs"));
        let deep = "[".repeat(100_000);
        assert!(error(deep).message.contains("recursion limit"));
    }

    #[test]
    fn a_half_written_file_is_not_complete() {
        let whole = br#"{"workflow": "x", "prompt": "a b"}"#;
        assert!(is_complete(whole));
        assert!(is_complete(b"\xEF\xBB\xBF{}\n"));
        for end in 0..whole.len() {
            assert!(!is_complete(&whole[..end]), "{end}");
        }
        assert!(!is_complete(&[0; 64]));
    }

    #[test]
    fn an_excerpt_is_cut_round_the_caret_and_safe_to_show() {
        let long = format!("{{\"prompt\": \"{}\u{1b}[2J\" ? {}}}", "x".repeat(300), "y".repeat(300));
        let text = excerpt(&long, 1, long.find('?').expect("there"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.width() < 100), "{text}");
        assert!(!text.contains('\u{1b}'));
        let caret = lines[1].chars().count() - 1;
        assert_eq!(lines[0].chars().nth(caret), Some('?'));
        assert_eq!(excerpt("ab", 1, 9), "1 | ab\n  |   ^");
        assert_eq!(excerpt("x\r\nab\r\ny", 2, 4), "2 | ab\n  |  ^");
    }

    #[test]
    fn an_error_found_later_points_into_the_file_too() {
        let file = b"[{\"a\": 1},\n {\"set\": {\"9.cfg\": 1}}]";
        assert_eq!(Places::new(file).error(1, &["set", "9.cfg"], "no node 9").place, Some(place(2, 11)));
        assert_eq!(Places::new(b"{\"sed\": 1}").error(0, &["sed"], "no such slot").place, Some(place(1, 2)));
        // a slot that is missing has no place of its own: the job's
        assert_eq!(Places::new(file).error(1, &["image"], "missing").place, Some(place(2, 2)));
        assert_eq!(Places::new(b"\xFF").error(0, &["a"], "x").place, None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), cut in "[\\[\\]{}\":,a-z0-9 \n\\\\é]{0,80}") {
            let _ = (parse(&bytes), is_complete(&bytes), parse(cut.as_bytes()));
            let places = Places::new(cut.as_bytes());
            let _ = (places.error(0, &["a", "b"], "x"), places.error(1, &["a"], "x"));
        }
    }
}
