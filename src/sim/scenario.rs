//! Faults on purpose: a TOML list of `[[fault]]`, each a trigger and an action.
//!
//! Pure: text in, [`Scenario`] out; `core` carries the actions out. A new fault is one variant of
//! [`Action`], its moment in [`Fault::moment`], and its effect where that moment is handled.
//! docs/simulator.md describes the format; a test parses its examples.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use toml::Spanned;

use super::request::ROUTES;

/// All faults of one run of the simulator, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scenario {
    pub faults: Vec<Fault>,
}

/// What goes wrong, when, and how often.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// All conditions that are given must hold.
    #[serde(default)]
    pub on: Trigger,
    /// How many of the first matches are let go by.
    #[serde(default)]
    pub skip: u32,
    /// How often it strikes; 0: every time.
    #[serde(default = "once")]
    pub times: u32,
    #[serde(rename = "do")]
    pub action: Action,
}

fn once() -> u32 {
    1
}

/// When a fault strikes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trigger {
    /// The Nth `POST /prompt` (from 1), refused ones counted.
    pub post: Option<u64>,
    /// The Nth accepted prompt (from 1), of any client.
    pub prompt: Option<u64>,
    /// A node of this class, as it starts.
    pub node: Option<String>,
    /// A prompt with this text somewhere in it.
    pub text: Option<String>,
    /// A kind of request, for example `GET /view`.
    pub request: Option<String>,
    /// Seconds since the simulator started.
    pub after: Option<f64>,
}

/// What goes wrong. Numbers are seconds unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Answer with this status and body, and do nothing.
    RefuseWith(Refusal),
    /// Do it, then close the connection without an answer.
    PostLost,
    /// Queue it, and answer 500.
    #[serde(rename = "post_500_but_queued")]
    Post500ButQueued,
    /// Do nothing, say nothing, and close the connection after so long.
    Hang(f64),
    /// Do it at once, answer so much later.
    Slow(f64),
    /// Do it only so much later, whether or not anyone still waits.
    Late(f64),
    /// `/history` knows the job so many milliseconds after the last message.
    HistoryLate(u64),
    /// `/history` never knows the job.
    HistoryMissing,
    /// No end message of the job is sent; history has it.
    EndNeverSent,
    /// Every websocket is cut, without a close frame.
    DropSockets,
    /// Every websocket stays open, answers pings and hears nothing more (trap 15).
    Deaf,
    /// Every websocket stays open and nothing moves on it any more, not even pings.
    HalfOpen,
    /// For so long somebody else has a websocket of the same clientId, and hears in its place; then both are deaf.
    Twin(f64),
    /// Every websocket gets one message that breaks off.
    TruncatedMessage,
    /// A stranger's job with a bare `NaN` in it is queued, and told of: `/queue`, `/history` and messages hold it.
    Nan,
    /// Every websocket gets the messages of a job that nobody here posted, clientId or not.
    Stray,
    /// From now on every message is late by up to so many milliseconds, so that they overtake each other.
    Disorder(u64),
    /// The node runs out of memory, in the recorded words.
    Oom,
    /// The node throws.
    NodeError(NodeError),
    #[serde(rename = "view_404")]
    View404,
    /// The file is announced whole and cut after so many bytes.
    ViewCut(usize),
    /// The file is announced with so many bytes, and the connection cut where it really ends.
    ViewAnnounce(u64),
    /// Any answer is announced whole and cut after so many bytes.
    Cut(usize),
    /// The process dies: all is forgotten but the files; connections are refused for so long.
    Crash(f64),
    /// So many jobs of somebody else are queued, every second one without a `client_id`.
    Foreign(u32),
}

/// An answer instead of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub status: u16,
    #[serde(default)]
    pub body: String,
}

/// What a node throws.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeError {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
}

/// When a fault is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A request has arrived.
    Request,
    /// A prompt was accepted.
    Accepted,
    /// A node starts.
    Node,
    /// A point in time.
    Time,
}

/// What is known at a moment; a condition on what is not known does not hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occasion<'a> {
    pub post: Option<u64>,
    pub prompt: Option<u64>,
    pub node: Option<&'a str>,
    pub graph: Option<&'a Value>,
    pub route: Option<&'a str>,
}

impl Trigger {
    /// Do all given conditions hold? (`after` is for the clock to say.)
    pub fn holds(&self, now: &Occasion<'_>) -> bool {
        self.post.is_none_or(|n| now.post == Some(n))
            && self.prompt.is_none_or(|n| now.prompt == Some(n))
            && self.node.as_deref().is_none_or(|class| now.node == Some(class))
            && self.request.as_deref().is_none_or(|route| now.route == Some(route))
            && self.text.as_deref().is_none_or(|text| now.graph.is_some_and(|graph| mentions(graph, text)))
    }
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(inside) => inside.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(map) => map.values().any(|item| mentions(item, text)),
        _ => false,
    }
}

impl Fault {
    /// The moment at which this fault is looked at.
    ///
    /// # Errors
    /// The action and the conditions do not go together; says why.
    pub fn moment(&self) -> Result<Moment, &'static str> {
        use Action as A;
        let on = &self.on;
        let (at_request, at_node) = (on.request.is_some(), on.node.is_some());
        let moment = match self.action {
            A::HistoryLate(_) | A::HistoryMissing | A::EndNeverSent => Moment::Accepted,
            A::Oom | A::NodeError(_) => Moment::Node,
            // These strike wherever the trigger points.
            A::DropSockets
            | A::Deaf
            | A::HalfOpen
            | A::Twin(_)
            | A::TruncatedMessage
            | A::Nan
            | A::Stray
            | A::Disorder(_)
            | A::Crash(_)
            | A::Foreign(_) => {
                if on.after.is_some() {
                    Moment::Time
                } else if at_node {
                    Moment::Node
                } else if on.prompt.is_some() {
                    Moment::Accepted
                } else {
                    Moment::Request
                }
            }
            A::RefuseWith(_)
            | A::PostLost
            | A::Post500ButQueued
            | A::Hang(_)
            | A::Slow(_)
            | A::Late(_)
            | A::View404
            | A::ViewCut(_)
            | A::ViewAnnounce(_)
            | A::Cut(_) => Moment::Request,
        };
        match moment {
            Moment::Request if at_node || on.prompt.is_some() || on.after.is_some() => {
                Err("it strikes at a request, where only `post`, `text` and `request` are known")
            }
            Moment::Accepted | Moment::Node if at_request || on.after.is_some() => {
                Err("it strikes at a job, where `request` and `after` are not known")
            }
            Moment::Accepted if at_node => Err("it strikes at a job as a whole, so `node` cannot be asked for"),
            Moment::Time if at_node || at_request || on.post.is_some() || on.prompt.is_some() || on.text.is_some() => {
                Err("`after` stands alone")
            }
            moment => Ok(moment),
        }
    }
}

/// A scenario that cannot be read.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// Not TOML, or not of this shape; the source names line and column.
    #[error("the scenario cannot be read")]
    Shape(#[source] toml::de::Error),
    /// Well-formed, but it makes no sense.
    #[error("the fault in line {line} of the scenario: {why}")]
    Sense { line: usize, why: String },
}

impl Scenario {
    /// Reads a scenario file's text.
    ///
    /// # Errors
    /// With the line, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            fault: Vec<Spanned<Fault>>,
        }
        let file: File = toml::from_str(text).map_err(ScenarioError::Shape)?;
        let mut faults = Vec::new();
        for fault in file.fault {
            let line = text.get(..fault.span().start).map_or(1, |before| before.matches('\n').count() + 1);
            let fault = fault.into_inner();
            let wrong = |why: String| Err(ScenarioError::Sense { line, why });
            if let Err(why) = fault.moment() {
                return wrong(why.to_owned());
            }
            if let Some(route) = fault.on.request.as_deref().filter(|route| !ROUTES.contains(route)) {
                let meant = crate::text::did_you_mean(route, ROUTES.iter().copied());
                return wrong(format!("there is no request `{route}`{meant}"));
            }
            let seconds = match fault.action {
                Action::Hang(s) | Action::Slow(s) | Action::Late(s) | Action::Crash(s) | Action::Twin(s) => Some(s),
                _ => None,
            };
            if seconds.or(fault.on.after).is_some_and(|s| !s.is_finite() || s < 0.0) {
                return wrong("seconds are finite and not negative".to_owned());
            }
            faults.push(fault);
        }
        Ok(Self { faults })
    }
}

/// The faults with their counts, while the simulator runs.
#[derive(Debug, Default)]
pub(super) struct Armed {
    faults: Vec<(Fault, Moment, u32)>,
}

impl Armed {
    pub fn new(scenario: &Scenario) -> Self {
        let armed = scenario.faults.iter().filter_map(|fault| Some((fault.clone(), fault.moment().ok()?, 0)));
        Self { faults: armed.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The actions that strike now; counts them.
    pub fn strike(&mut self, moment: Moment, now: &Occasion<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (fault, at, matched) in &mut self.faults {
            if *at != moment || !fault.on.holds(now) {
                continue;
            }
            *matched += 1;
            let struck = matched.saturating_sub(fault.skip);
            if struck >= 1 && (fault.times == 0 || struck <= fault.times) {
                actions.push(fault.action.clone());
            }
        }
        actions
    }

    /// The actions that strike by the clock, with their seconds since the start.
    pub fn timed(&self) -> impl Iterator<Item = (f64, &Action)> {
        let timed = self.faults.iter().filter(|(_, moment, _)| *moment == Moment::Time);
        timed.filter_map(|(fault, _, _)| Some((fault.on.after?, &fault.action)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn error(text: &str) -> String {
        let error = Scenario::parse(text).unwrap_err();
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    }

    #[test]
    fn a_scenario_is_read() {
        let text = r#"
            [[fault]]
            on = { post = 3 }
            do = "post_lost"
            [[fault]]
            on = { node = "VAEDecode", text = "page" }
            times = 0
            do = { node_error = { type = "RuntimeError", message = "boom" } }
            [[fault]]
            on = { after = 5 }
            do = { crash = 3 }
        "#;
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.faults[0].action, Action::PostLost);
        assert_eq!(scenario.faults[1].times, 0);
        assert_eq!(scenario.faults[2].moment(), Ok(Moment::Time));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(error("[[fault]]\non = { pots = 1 }\ndo = \"deaf\"\n").contains("line 2"));
        assert!(error("[[fault]]\non = { post = 1 }\ndo = \"explode\"\n").contains("line 3"));
        let sense = error("\n[[fault]]\non = { post = 1, node = \"VAEDecode\" }\ndo = \"post_lost\"\n");
        assert!(sense.contains("line 2") && sense.contains("at a request"), "{sense}");
        assert!(
            error("[[fault]]\non = { request = \"GET /vew\" }\ndo = \"view_404\"\n")
                .contains("did you mean `GET /view`")
        );
        assert!(error("[[fault]]\ndo = { crash = -1 }\n").contains("not negative"));
    }

    /// Every example of the guide is a scenario that can be read.
    #[test]
    fn the_examples_of_the_guide_are_read() {
        let guide = include_str!("../../docs/simulator.md");
        let examples: Vec<&str> =
            guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(examples.len() >= 2);
        for example in examples {
            let read = Scenario::parse(example)
                .map_err(|error| format!("{error}: {:?}", error.source().map(ToString::to_string)));
            assert!(!read.unwrap_or_else(|error| panic!("{error}\n{example}")).faults.is_empty());
        }
        // And every action has one.
        for action in [
            "refuse_with",
            "post_lost",
            "post_500_but_queued",
            "hang",
            "slow",
            "late",
            "history_late",
            "history_missing",
            "end_never_sent",
            "drop_sockets",
            "deaf",
            "half_open",
            "twin",
            "truncated_message",
            "nan",
            "stray",
            "disorder",
            "view_announce",
            "cut",
            "oom",
            "node_error",
            "view_404",
            "view_cut",
            "crash",
            "foreign",
        ] {
            assert!(guide.contains(&format!("`{action}`")), "docs/simulator.md does not tell of `{action}`");
        }
    }

    #[test]
    fn matches_are_counted() {
        let scenario = Scenario::parse("[[fault]]\nskip = 1\ntimes = 2\ndo = { slow = 1 }\n").unwrap();
        let mut armed = Armed::new(&scenario);
        let struck: Vec<usize> = (0..5).map(|_| armed.strike(Moment::Request, &Occasion::default()).len()).collect();
        assert_eq!(struck, [0, 1, 1, 0, 0]);
    }
}
