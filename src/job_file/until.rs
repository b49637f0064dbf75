//! `until` and `best_of`: what an output must be like, and what is tried until one is.
//!
//! Pure. What the values to vary mean for a graph is the workflow's to say: see the engine's intake.

use serde_json::{Map, Value};

use super::keys;
use super::reader::{Reader, kind};
use super::vary::Ways;
use super::{JobSpec, Variant};
use crate::job::{Gate, MOST_TRIES};
use crate::text;

/// As a job file asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Until {
    /// None: `best_of`.
    pub gate: Option<Gate>,
    /// None: as many as there are values to vary, else the usual number.
    pub tries: Option<u32>,
    pub minutes: Option<f64>,
    pub vary: Varied,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Varied {
    /// A seed by chance.
    Seed,
    /// A seed that is one more.
    Increment,
    /// Every combination of these lists, by slot or input; the last one changes fastest.
    Lists(Vec<(String, Vec<Value>)>),
}

/// What an `until` may say.
const WORDS: [&str; 6] = ["verdict", "ssim", "seam", "tries", "minutes", "vary"];

impl Until {
    pub(super) fn best_of(tries: i64) -> Self {
        Self { gate: None, tries: u32::try_from(tries).ok(), minutes: None, vary: Varied::Seed }
    }

    /// Its key and value in a job file.
    pub(super) fn written(&self) -> (String, Value) {
        let Some(gate) = self.gate else { return ("best_of".to_owned(), self.tries.into()) };
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<Value>| map.extend(value.map(|value| (key.to_owned(), value)));
        put("verdict", gate.loops.then(|| "loops".into()));
        put("ssim", gate.ssim.map(Value::from));
        put("seam", gate.seam.map(Value::from));
        put("tries", self.tries.map(Value::from));
        put("minutes", self.minutes.map(Value::from));
        put(
            "vary",
            match &self.vary {
                Varied::Seed => None,
                Varied::Increment => Some("increment".into()),
                Varied::Lists(lists) => {
                    Some(lists.iter().map(|(key, values)| (key.clone(), Value::Array(values.clone()))).collect())
                }
            },
        );
        ("until".to_owned(), Value::Object(map))
    }
}

impl JobSpec {
    /// The job with the values of each try, where its `until` varies some; the values apart.
    pub fn variations(&self) -> impl Iterator<Item = (Self, Map<String, Value>)> {
        let lists = match &self.until {
            Some(Until { vary: Varied::Lists(lists), .. }) => Some(lists.clone()),
            _ => None,
        };
        let with = |mut job: Self| {
            let values = job.variant.take().map(|Variant { values, .. }| values).unwrap_or_default();
            job.variant.clone_from(&self.variant);
            (job, values)
        };
        lists.into_iter().flat_map(|lists| Ways::of(lists).jobs(self.clone())).map(with)
    }
}

impl Reader<'_> {
    pub(super) fn until(&mut self, map: Map<String, Value>) -> Until {
        let before = self.errors.len();
        let mut until = Until { gate: None, tries: None, minutes: None, vary: Varied::Seed };
        let mut gate = Gate::default();
        for (key, value) in map {
            match key.as_str() {
                "verdict" if value == "loops" => gate.loops = true,
                "verdict" => self.bad(&key, "\"loops\"", &value),
                "ssim" => gate.ssim = self.above_zero(&key, 1.0, &value),
                "seam" => gate.seam = self.above_zero(&key, f64::MAX, &value),
                "minutes" => until.minutes = self.above_zero(&key, f64::MAX, &value),
                "tries" => {
                    until.tries =
                        value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=MOST_TRIES).contains(n));
                    if until.tries.is_none() {
                        self.bad(&key, &format!("a whole number from 1 to {MOST_TRIES}"), &value);
                    }
                }
                "vary" => until.vary = self.varied(value),
                other => {
                    let hint = text::did_you_mean(other, WORDS);
                    let words =
                        format!("`until` knows no `{}`{hint}; it takes {}", text::clean(other), WORDS.join(", "));
                    self.error(&["until", other], words);
                }
            }
        }
        if gate == Gate::default() && self.errors.len() == before {
            self.error(
                &["until"],
                "`until` says not until what: give it \"verdict\": \"loops\", or \"ssim\" or \"seam\" (or write `best_of`)",
            );
        }
        until.gate = Some(gate);
        until
    }

    fn bad(&mut self, key: &str, wanted: &str, value: &Value) {
        self.error(&["until", key], format!("`{key}` in `until` must be {wanted}, not {}", kind(value)));
    }

    fn above_zero(&mut self, key: &str, most: f64, value: &Value) -> Option<f64> {
        let number = value.as_f64().filter(|number| *number > 0.0 && *number <= most);
        if number.is_none() {
            let wanted = if most > 1.0 { "a number above 0" } else { "a number above 0, and 1 at most" };
            self.bad(key, wanted, value);
        }
        number
    }

    fn varied(&mut self, value: Value) -> Varied {
        let map = match value {
            Value::String(word) if word == "seed" || word == "random" => return Varied::Seed,
            Value::String(word) if word == "increment" => return Varied::Increment,
            Value::Object(map) if !map.is_empty() => map,
            other => {
                let wanted = "\"seed\" (a random one each time), \"increment\" (one more each time), or lists of values, \
                              {\"length\": [65, 81, 97]}";
                self.bad("vary", wanted, &other);
                return Varied::Seed;
            }
        };
        let mut lists = Vec::new();
        for (key, values) in map {
            let path = ["until", "vary", key.as_str()];
            match values {
                Value::Array(values) if !values.is_empty() => lists.push((key, values)),
                other => self.error(
                    &path,
                    format!("`{}` in `vary` must be a list of values, not {}", text::clean(&key), kind(&other)),
                ),
            }
        }
        let count = Ways::of(lists.clone()).count();
        if count > MOST_TRIES as usize {
            self.error(
                &["until", "vary"],
                format!("`vary` makes {count} combinations; at most {MOST_TRIES} are tried"),
            );
            return Varied::Seed;
        }
        Varied::Lists(lists)
    }

    /// What is varied stands nowhere else.
    pub(super) fn check_varied(&mut self, spec: &JobSpec, sweep: Option<&Value>) {
        let Some(Until { vary: Varied::Lists(lists), .. }) = &spec.until else { return };
        for (key, _) in lists {
            let path = ["until", "vary", key.as_str()];
            let shown = text::clean(key);
            if keys::find(key).is_some() {
                self.error(&path, format!("`{shown}` is no slot: it can't be varied"));
            } else if spec.slots.contains_key(key) || spec.set.contains_key(key) {
                self.error(&path, format!("`{shown}` stands in `vary` and beside it: leave one of them out"));
            } else if sweep.is_some_and(|sweep| sweep.get(key).is_some()) {
                self.error(&path, format!("`{shown}` stands in `vary` and in `sweep`: leave one of them out"));
            } else if key.contains('.') {
                self.names_input("until", key);
            }
        }
    }
}
