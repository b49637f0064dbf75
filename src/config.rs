//! `comfytop.toml`: what a person may set, its defaults, and errors that name the line.
//!
//! Pure: text in, [`Config`] out. Reading the file, the environment and the flags is the door's
//! work (`cli.rs`). Unknown keys are errors. Headers and passwords in addresses are secrets:
//! nothing here shows them, not in `Debug` and not in an error. `docs/config.md` lists every key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use crate::text;
use crate::verdict::Thresholds;

/// Where ComfyUI listens when nobody says otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8188";

/// The watched folder when nobody says otherwise.
pub const DEFAULT_INBOX: &str = "jobs";

/// What glibc is told in the environment of an engine, unless a person says it. Else it keeps for ever what was freed
/// once a large block was: an engine that has told a face of ten thousand jobs would hold half as much again. Its
/// children go without: they decode pictures, and are quicker so.
pub const SPARING: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// All settings of one render folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The servers, in order of preference; empty means [`DEFAULT_SERVER`].
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
    /// The watched folders; empty means `jobs/`.
    #[serde(rename = "inbox")]
    pub inboxes: Vec<InboxConfig>,
    pub queue: QueueConfig,
    pub retry: RetryConfig,
    pub keep: KeepConfig,
    pub outputs: OutputsConfig,
    pub verdict: Thresholds,
    pub ui: UiConfig,
}

/// One ComfyUI server.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// What it is called on screen; the host and port where left out.
    #[serde(default)]
    pub name: Option<String>,
    /// `http(s)://[user:password@]host[:port][/base]`.
    #[serde(deserialize_with = "http_url")]
    pub url: String,
    /// Sent with every request, the websocket's too (tokens of a proxy). Never logged.
    #[serde(default, deserialize_with = "headers")]
    pub headers: BTreeMap<String, String>,
    /// How many of our prompts the server holds at once; 0 = all.
    #[serde(default = "default_in_flight")]
    pub in_flight: u32,
}

fn default_in_flight() -> u32 {
    2
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: BTreeMap<&str, &str> = self.headers.keys().map(|name| (name.as_str(), "(hidden)")).collect();
        f.debug_struct("ServerConfig")
            .field("name", &self.name)
            .field("url", &shown_url(&self.url))
            .field("headers", &headers)
            .field("in_flight", &self.in_flight)
            .finish()
    }
}

/// An address fit to show or log: without user, password, query and fragment.
pub fn shown_url(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "(not an address)".to_owned() };
    // Addresses that can carry no user (`data:`) can hide none either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    text::clean(url.as_str()).trim_end_matches('/').to_owned()
}

/// One watched folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxConfig {
    /// Relative to the render folder, or absolute.
    pub path: PathBuf,
    /// How long a file that could still grow must stand still.
    #[serde(default, with = "seconds")]
    pub settle: Option<Duration>,
    /// After this long an unreadable file, or one whose inputs are missing, is rejected.
    #[serde(default, with = "seconds")]
    pub max_settle: Option<Duration>,
    /// Watch by polling (network shares send no events).
    #[serde(default)]
    pub poll: bool,
    /// Every drop here is taken on hold.
    #[serde(default)]
    pub hold: bool,
    /// The workflow of jobs that name none, and of the pictures and clips that are dropped here.
    #[serde(default)]
    pub workflow: Option<String>,
    /// A picture, clip or sound dropped here fills this slot: it is a job.
    #[serde(default)]
    pub slot: Option<String>,
    /// Values of other slots, for jobs of this inbox's workflow that don't give them.
    #[serde(default)]
    pub slots: Map<String, Value>,
    /// Edits of single inputs, likewise.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// A file dropped here that ComfyUI made renders again, by the prompt that it carries.
    #[serde(default)]
    pub extract: bool,
}

impl InboxConfig {
    /// It takes pictures and clips, not only job files.
    pub fn takes_media(&self) -> bool {
        self.slot.is_some() || self.extract
    }
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_INBOX),
            settle: None,
            max_settle: None,
            poll: false,
            hold: false,
            workflow: None,
            slot: None,
            slots: Map::new(),
            set: Map::new(),
            extract: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Stop the engine after this long with no face and nothing to do; off where left out.
    #[serde(with = "seconds")]
    pub idle_exit: Option<Duration>,
    /// Give each attempt a `filename_prefix` of its own.
    pub own_prefix: bool,
    /// Hold graphs against what the server says of its nodes, before anything is uploaded or posted.
    pub preflight: bool,
    /// After a POST that timed out, wait this long before looking again.
    #[serde(with = "seconds")]
    pub post_grace: Option<Duration>,
    /// Nothing heard for this long while our job runs: ask, and reconnect.
    #[serde(with = "seconds")]
    pub quiet: Option<Duration>,
    /// After the engine or a server was restarted.
    pub after_restart: AfterRestart,
    /// So many failures of one kind in a row pause the queue; 0 = never.
    pub pause_after: u32,
    /// A render without a step for this long is flagged; ten minutes where left out.
    #[serde(with = "seconds")]
    pub stall: Option<Duration>,
    pub on_stall: OnStall,
}

/// How the queue goes on after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRestart {
    #[default]
    Resume,
    Pause,
}

/// What is done to a render that makes no step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStall {
    #[default]
    Flag,
    Interrupt,
}

/// How often a job that failed is tried again by itself, by the kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Alone, after the server has freed its memory.
    pub out_of_memory: u32,
    /// The server died or was restarted under it.
    pub server: u32,
    /// A node raised an exception.
    pub node: u32,
    /// The server refused the prompt.
    pub validation: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { out_of_memory: 1, server: 2, node: 0, validation: 0 }
    }
}

/// What `comfytop clean` leaves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Histories and posted graphs of jobs that ended so many days ago go.
    pub days: u32,
    /// Bytes of kept input files; those that no unfinished job needs go, the oldest first.
    pub inputs: u64,
    /// Bytes of the cache, the oldest first.
    pub cache: u64,
    /// Bytes of the engine's log, the older part first.
    pub log: u64,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { days: 30, inputs: 2_000_000_000, cache: 500_000_000, log: 10_000_000 }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            idle_exit: None,
            own_prefix: true,
            preflight: true,
            post_grace: None,
            quiet: None,
            after_restart: AfterRestart::Resume,
            pause_after: 3,
            stall: None,
            on_stall: OnStall::Flag,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsConfig {
    /// Where renders are collected, relative to the render folder.
    pub path: PathBuf,
    /// The server's own output folder, where it can be read here: files are linked, not downloaded.
    pub server_folder: Option<PathBuf>,
    /// Files larger than this many bytes are not fetched.
    pub max_bytes: u64,
    /// Fewer free bytes than this on the disk of the outputs or the store pause the queue.
    pub min_free: u64,
}

impl Default for OutputsConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("outputs"), server_folder: None, max_bytes: 4 << 30, min_free: 2_000_000_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UiConfig {
    /// SSIM at or above this is green.
    pub ssim_good: f64,
    /// SSIM at or below this is red.
    pub ssim_bad: f64,
    /// `false` = no colours (as `NO_COLOR`).
    pub color: bool,
    /// How pictures reach the terminal.
    pub pictures: PictureMeans,
    /// Bytes a second that pictures may take on the line to the terminal.
    pub picture_rate: u32,
    /// Paths of outputs are links (OSC 8).
    pub links: bool,
}

/// How pictures reach a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureMeans {
    /// The best that the terminal says it understands.
    #[default]
    Auto,
    Kitty,
    Iterm2,
    Sixel,
    /// Half blocks: two pixels a cell, in any terminal.
    Blocks,
    /// None.
    Off,
}

impl std::str::FromStr for PictureMeans {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word.trim().to_ascii_lowercase().as_str() {
            "auto" => Self::Auto,
            "kitty" => Self::Kitty,
            "iterm2" => Self::Iterm2,
            "sixel" => Self::Sixel,
            "blocks" => Self::Blocks,
            "off" => Self::Off,
            _ => return Err("pictures are `auto`, `kitty`, `iterm2`, `sixel`, `blocks` or `off`".to_owned()),
        })
    }
}

impl Default for UiConfig {
    fn default() -> Self {
        Self {
            ssim_good: 0.85,
            ssim_bad: 0.612,
            color: true,
            pictures: PictureMeans::Auto,
            picture_rate: 32 << 10,
            links: true,
        }
    }
}

/// A config file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}: {message}")]
pub struct ConfigError {
    pub file: String,
    /// Line and column where TOML knows them, what is wrong, and the nearest right key.
    pub message: String,
}

impl Config {
    /// Reads the text of a config file; `file` is what an error calls it.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let config: Self = toml::from_str(text).map_err(|error| ConfigError {
            file: file.to_owned(),
            message: format!("{}{}", place(text, error.span()), in_words(error.message())),
        })?;
        match config.contradiction() {
            Some(message) => Err(ConfigError { file: file.to_owned(), message }),
            None => Ok(config),
        }
    }

    /// What no single key shows to be wrong.
    fn contradiction(&self) -> Option<String> {
        let ui = &self.ui;
        let in_range = |value: f64| (-1.0..=1.0).contains(&value);
        if !in_range(ui.ssim_bad) || !in_range(ui.ssim_good) || ui.ssim_bad >= ui.ssim_good {
            return Some(format!(
                "[ui]: `ssim_bad` ({}) must be below `ssim_good` ({}), and both are SSIM values (at most 1)",
                ui.ssim_bad, ui.ssim_good
            ));
        }
        let Thresholds { slower, faster, colour, cut } = self.verdict;
        if !(0.0..=1.0).contains(&slower)
            || !(0.0..=10.0).contains(&faster)
            || !(0.0..=255.0).contains(&colour)
            || cut > 64
        {
            return Some(
                "[verdict]: `slower` is a share (0 to 1), `faster` too (0 to 10), `colour` a number of levels (0 to 255), \
                 and `cut` at most 64 frames"
                    .to_owned(),
            );
        }
        for inbox in &self.inboxes {
            let path = inbox.path.display().to_string();
            let path = text::clean(&path);
            if inbox.extract && inbox.slot.is_some() {
                return Some(format!(
                    "[[inbox]] {path}: with `extract` a dropped file is a job by what it carries, with `slot` it is an input: choose one"
                ));
            }
            if inbox.slot.is_some() && inbox.workflow.is_none() {
                return Some(format!("[[inbox]] {path}: `slot` wants a `workflow` that has it"));
            }
        }
        for (at, server) in self.servers.iter().enumerate() {
            let twin =
                self.servers[..at].iter().find(|other| other.url == server.url || other.label() == server.label());
            if twin.is_some() {
                return Some(format!(
                    "two [[server]] entries are `{}`: give each its own `name` and `url`",
                    text::clean(&server.label())
                ));
            }
        }
        None
    }
}

impl ServerConfig {
    /// A server of which only the address is known.
    pub fn at(url: &str) -> Self {
        Self { name: None, url: url.to_owned(), headers: BTreeMap::new(), in_flight: default_in_flight() }
    }

    /// What it is called: its name, else its address without the scheme (`127.0.0.1:8188`).
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let shown = shown_url(&self.url);
            shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest).to_owned()
        })
    }
}

/// `"line 3, column 9: "`, both from 1, columns in characters; nothing where the place is unknown.
fn place(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else { return String::new() };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// What TOML says, in our words where ours help more. Serde quotes names in backticks: first the
/// wrong one, then those it knows.
fn in_words(message: &str) -> String {
    let message = text::clean(message);
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(wrong) = quoted.next()
    {
        let known: Vec<&str> = quoted.collect();
        let hint = text::did_you_mean(wrong, known.iter().copied());
        return format!("unknown key `{wrong}`{hint}; keys here: {}", known.join(", "));
    }
    if message.starts_with("missing field")
        && let Some(missing) = quoted.next()
    {
        return format!("`{missing}` is missing");
    }
    if message.starts_with("invalid type") && message.ends_with("expected a sequence") {
        return format!("{message} (servers and inboxes are lists: write `[[server]]` or `[[inbox]]`)");
    }
    message.into_owned()
}

/// An address that we can talk to. The error does not repeat it: it may hold a password.
fn http_url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use serde::de::Error as _;
    const SHAPE: &str = "an address is `http://host:port` or `https://host/base`";
    let given = String::deserialize(deserializer)?;
    let url = Url::parse(&given).map_err(|why| D::Error::custom(format!("{why}; {SHAPE}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(D::Error::custom(SHAPE));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(D::Error::custom(format!("nothing may follow `?` or `#`; {SHAPE}")));
    }
    Ok(given)
}

/// Headers by name. The error does not repeat what was given: it may be a token.
fn headers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    BTreeMap::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom("headers are texts by name: `headers = { Authorization = \"…\" }`"))
}

/// Durations are written as seconds: `1`, `0.5`.
mod seconds {
    use super::{Deserialize, Duration};
    use serde::de::Error as _;

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{seconds} is no length of time: write seconds, 0 or more")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "comfytop.toml").map_err(|error| error.to_string())
    }

    fn error(text: &str) -> String {
        parse(text).expect_err("this must be refused")
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(parse("\u{feff}# a comment\n").unwrap(), Config::default());
        assert_eq!(parse("[[server]]\nurl = \"http://a:8188\"").unwrap().servers, [ServerConfig::at("http://a:8188")]);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_place_and_the_nearest_right_one() {
        assert_eq!(
            error("[[server]]\nurl = \"http://a:8188\"\n  in_fligth = 3\n"),
            "comfytop.toml: line 3, column 3: unknown key `in_fligth` (did you mean `in_flight`?); keys here: name, url, \
             headers, in_flight"
        );
        assert_eq!(
            error("[servers]\n"),
            "comfytop.toml: line 1, column 2: unknown key `servers` (did you mean `server`?); keys here: server, inbox, \
             queue, retry, keep, outputs, verdict, ui"
        );
        assert!(error("[ui]\nzebra = 1").contains("unknown key `zebra`; keys here: ssim_good"));
    }

    #[test]
    fn a_wrong_value_says_what_was_wanted() {
        for (text, wanted) in [
            ("[ui]\ncolor = \"no\"", "line 2, column 9: invalid type: string \"no\", expected a boolean"),
            ("[queue]\npost_grace = -1", "line 2, column 14: -1 is no length of time: write seconds, 0 or more"),
            ("[queue]\nquiet = inf", "line 2, column 9: inf is no length of time"),
            ("[queue]\nquiet = nan", "line 2, column 9: NaN is no length of time"),
            ("[[server]]\nname = \"a\"", "line 1, column 1: `url` is missing"),
            ("[server]\nurl = \"http://a\"", "write `[[server]]`"),
            ("server = \"http://a\"", "write `[[server]]`"),
            ("[[server]]\nurl = \"ftp://a\"", "line 2, column 7: an address is `http://host:port`"),
            ("[[server]]\nurl = \"127.0.0.1:8188\"", "line 2, column 7: relative URL without a base"),
            ("[[server]]\nurl = \"http://a/?token=x\"", "nothing may follow `?`"),
            ("[[server]]\nurl = \"http://a\"\nin_flight = -1", "line 3, column 13: "),
            ("[ui\n", "line 1, column 4: "),
            ("[ui]\nssim_good = 0.5", "`ssim_bad` (0.612) must be below `ssim_good` (0.5)"),
            ("[ui]\nssim_good = nan", "must be below"),
            ("[verdict]\nslower = nan", "`slower` is a share"),
            ("[verdict]\ncut = 1000", "`cut` at most 64"),
        ] {
            let error = error(text);
            assert!(error.starts_with("comfytop.toml: ") && error.contains(wanted), "{text}: {error}");
        }
        // Columns count characters, not bytes.
        assert!(
            error("[[server]]\nurl = \"http://a\"\nheaders = { \"é\" = \"x\" }; x").contains("line 3, column 24: ")
        );
    }

    #[test]
    fn two_servers_are_not_called_the_same() {
        let two = |a: &str, b: &str| error(&format!("{a}\n{b}\n"));
        assert!(two("[[server]]\nurl = \"http://a:1\"", "[[server]]\nurl = \"http://a:1\"").contains("`a:1`"));
        let (one, other) =
            ("[[server]]\nname = \"x\"\nurl = \"http://a\"", "[[server]]\nname = \"x\"\nurl = \"http://b\"");
        assert!(two(one, other).contains("two [[server]] entries are `x`"));
    }

    #[test]
    fn secrets_stay_hidden() {
        let config = parse(
            "[[server]]\nurl = \"https://me:hunter2@host/comfy/\"\nheaders = { Authorization = \"Bearer hunter2\" }",
        )
        .unwrap();
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("hunter2") && shown.contains("https://host/comfy") && shown.contains("Authorization"),
            "{shown}"
        );
        assert_eq!(config.servers[0].label(), "host/comfy");
        for text in [
            "[[server]]\nurl = \"https://me:hunter2@host:x/\"",
            "[[server]]\nurl = \"https://a\"\nheaders = { Authorization = Bearer hunter2 }",
            "[[server]]\nurl = \"ftp://me:hunter2@host\"",
            "[[server]]\nurl = \"http://a\"\nheaders = \"hunter2\"",
            "[[server]]\nurl = \"http://a\"\nheaders = { Authorization = [\"hunter2\"] }",
        ] {
            assert!(!error(text).contains("hunter2"), "{}", error(text));
        }
    }

    #[test]
    fn an_error_carries_no_control_characters() {
        let shown = error("\"a\\u001b[31m\" = 1");
        assert!(shown.contains("unknown key `a [31m`"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
