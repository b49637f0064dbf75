//! Lives of jobs, and orders that people give in them, each short. From the moment at which a life arms its night, whoever
//! passes the point of its doom dies there; without a doom, what is passed from then on is written down.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use comfytop::job::{JobId, Mark};
use comfytop::protocol::{Answer, FromEngine, FromFace, Link, MoveTo, NewPriority, Request};
use comfytop::sim::prompts;
use serde_json::{Value, json};

use super::night::{Death, Fate, Night, QUEUE, job};

pub type Life = (&'static str, fn(&mut Night));

/// A life in which nothing goes wrong.
pub const PLAIN: Life = ("plain", plain);

/// Lives in which something does: killed where the plain one does not come.
pub const TROUBLED: &[Life] = &[
    ("an answer is lost", lost_answer),
    ("an answer of an older server is lost", lost_answer_of_an_older_server),
    ("out of memory", out_of_memory),
    ("a file comes cut short", cut_short),
    ("a file is gone", gone),
    ("the server's outputs can be read", shared_outputs),
    ("killed with a part half there", killed_with_a_part),
    ("killed with a record that is not needed", killed_with_a_record),
    ("killed before the rename", killed_before_the_rename),
    ("a finished file comes again", came_again),
    ("a finished file comes again, and was changed", came_again_changed),
];

/// Orders: killed wherever they come while they are carried out.
pub const ORDERS: &[Life] = &[
    ("a failed file comes back", came_back),
    ("cancel of what waits", cancel_waiting),
    ("cancel of what is pending", cancel_pending),
    ("cancel of what runs", cancel_running),
    ("cancel of what is on its way", cancel_submitting),
    ("hold of what is pending", hold_pending),
    ("release", release),
    ("pause", pause),
    ("resume", resume),
    ("drain", drain),
    ("move", move_to_the_top),
    ("priority", priority),
    ("requeue", requeue),
    ("edit of what is pending", edit_pending),
    ("edit of what is done", edit_done),
    ("add", add),
    ("discard", discard),
    ("clean", clean),
    ("stop", stop),
];

// ---- without orders

fn plain(night: &mut Night) {
    night.arm();
    night.start();
    for name in ["a", "b"] {
        night.drop_job(name);
    }
    night.until_over();
}

/// One job, armed from the start, of a server that does this.
fn one(night: &mut Night, scenario: &str) {
    night.scenario = scenario.into();
    plain(night);
}

fn lost_answer(night: &mut Night) {
    one(night, "[[fault]]\non = { post = 1 }\ndo = \"post_lost\"\n");
}

fn lost_answer_of_an_older_server(night: &mut Night) {
    night.version = "0.3.64";
    one(night, "[[fault]]\non = { post = 1 }\ndo = \"post_lost\"\n");
}

fn out_of_memory(night: &mut Night) {
    one(night, "[[fault]]\non = { node = \"SaveImage\" }\ndo = \"oom\"\n");
}

fn cut_short(night: &mut Night) {
    one(night, "[[fault]]\non = { request = \"GET /view\" }\nskip = 1\ndo = { view_cut = 50 }\n");
}

/// The second of two outputs: what came of the first is dropped, and it is rendered again.
fn gone(night: &mut Night) {
    let mut two = super::night::workflow();
    two["5"] = json!({"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "again"}});
    fs::write(night.stage.at("workflows/two.json"), two.to_string()).unwrap();
    fs::write(night.stage.at("workflows/two.toml"), super::night::SLOTS).unwrap();
    night.scenario = "[[fault]]\non = { request = \"GET /view\" }\nskip = 1\ndo = \"view_404\"\n".into();
    night.arm();
    night.start();
    night.drop_as("two", "a", Fate::Done { renders: 2, outputs: 2 });
    night.until_over();
}

fn shared_outputs(night: &mut Night) {
    let output = night.stage.server_files().join("output");
    fs::create_dir_all(&output).unwrap();
    night.stage.configure(&format!("{QUEUE}[outputs]\nserver_folder = {:?}\n", output.display().to_string()));
    plain(night);
}

/// Killed at this point of a life; armed is what comes after.
fn killed_before(night: &mut Night, point: &str) {
    let doom = night.doom.replace(point.to_owned());
    let traces = std::mem::take(&mut night.traces);
    night.arm();
    night.start();
    night.drop_job("a");
    night.until_doom();
    night.disarm();
    (night.doom, night.traces) = (doom, traces);
    night.arm();
    night.start_engine(&Death::None);
    night.until_over();
}

fn killed_with_a_part(night: &mut Night) {
    killed_before(night, "folder.part.whole before");
}

fn killed_with_a_record(night: &mut Night) {
    killed_before(night, "folder.record.drop before");
}

fn killed_before_the_rename(night: &mut Night) {
    killed_before(night, "folder.take before");
}

/// A file is copied back to `queued/` when its job is done, and an engine starts.
fn again(night: &mut Night, changed: bool) {
    night.start();
    night.drop_job("a");
    night.until_over();
    night.kill_engine();
    let file = night.file_of("jobs/done", "a").unwrap();
    let (done, queued) = (format!("jobs/done/{file}"), format!("jobs/queued/{file}"));
    fs::copy(night.stage.at(&done), night.stage.at(&queued)).unwrap();
    if changed {
        fs::write(night.stage.at(&done), night.stage.text(&done) + "\n").unwrap();
    }
    night.arm();
    night.start_engine(&Death::None);
    night.until("put away once more", |night| night.stage.names("jobs/queued").is_empty());
    // One that answers is past that.
    night.give(|night| night.ask(Request::Status).map(drop));
    night.disarm();
}

fn came_again(night: &mut Night) {
    again(night, false);
}

fn came_again_changed(night: &mut Night) {
    again(night, true);
}

fn came_back(night: &mut Night) {
    night.scenario = "[[fault]]\non = { node = \"SaveImage\" }\n\
        do = { node_error = { type = \"RuntimeError\", message = \"it broke\" } }\n"
        .into();
    night.start();
    night.drop_job("a");
    night.until_over();
    let file = night.file_of("jobs/failed", "a").unwrap();
    night.arm();
    fs::rename(night.stage.at(&format!("jobs/failed/{file}")), night.stage.at(&format!("jobs/{file}"))).unwrap();
    night.until("begun again", |night| night.begun().len() == 2);
    night.disarm();
    night.until("done", |night| night.is_over("a") && night.file_of("jobs/done", "a").is_some());
}

// ---- orders

impl Night {
    /// Asks the engine. `None`: there is none, or it died before it answered.
    fn ask(&self, request: Request) -> Option<Result<Answer, String>> {
        let folders = [self.base().join("home/state/comfytop"), self.stage.temp()];
        let sockets = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let socket = sockets.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "sock"))?;
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
        for line in [FromFace::Hello(comfytop::link::hello(false, false, None)), FromFace::Ask { id: 1, request }] {
            writeln!(stream, "{}", serde_json::to_string(&line).unwrap()).ok()?;
        }
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut lines = lines.filter_map(|line| serde_json::from_str(&line).ok());
        lines.find_map(|line| if let FromEngine::Answer { result, .. } = line { Some(result) } else { None })
    }

    /// Gives an order until it is answered, and lives until what it asks for is so. One that was confirmed is not
    /// given again; one that was not may have been taken all the same, and the engine refuses it then.
    #[track_caller]
    fn order(&mut self, request: &Request, is_so: impl FnMut(&Self) -> bool) {
        let mut unheard = false;
        self.give(|night| {
            let answer = night.ask(request.clone());
            unheard |= answer.is_none();
            let refused = match answer? {
                Ok(Answer::Each(each)) => each.into_iter().find_map(|(_, done)| done.err()),
                Ok(_) => None,
                Err(why) => Some(why),
            };
            assert!(refused.is_none() || unheard, "{request:?}: {refused:?}");
            Some(())
        });
        self.until(&format!("{request:?}"), is_so);
    }

    /// Tries this until it is answered.
    fn give(&mut self, mut ask: impl FnMut(&Self) -> Option<()>) {
        self.until("an answer", |night| ask(night).is_some());
    }

    /// Somebody else's render, which ends when it is told to.
    fn hold_the_gpu(&mut self) {
        let mut graph = prompts::wan_loop(1);
        graph["1"]["inputs"]["image"] = json!("example.png");
        for node in ["13", "14"] {
            graph[node]["inputs"]["steps"] = json!(10_000);
            graph[node]["inputs"]["end_at_step"] = json!(10_000);
        }
        let body = json!({"prompt": graph, "prompt_id": STRANGER}).to_string();
        // It may not listen yet.
        self.until("a server", |night| night.post("/prompt", &body).is_some());
        self.until("the stranger's render", |night| night.happened().iter().any(|(event, _, _)| event == "started"));
    }

    fn let_go(&mut self) {
        self.post("/interrupt", &json!({"prompt_id": STRANGER}).to_string()).unwrap();
        let is_over = |(event, _, line): &(String, String, Value)| event == "ended" && line["prompt_id"] == STRANGER;
        self.until("the stranger's end", |night| night.happened().iter().any(is_over));
    }

    fn post(&self, path: &str, body: &str) -> Option<()> {
        let at = self.stage.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(at).ok()?;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json");
        write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
        let status = BufReader::new(stream).lines().next()?.ok()?;
        assert!(status.contains(" 200 "), "{path}: {status}");
        Some(())
    }

    /// These jobs, dropped in this order; the server is busy with somebody else's. The first two it holds.
    fn wait_in_line(&mut self, names: &[&str]) {
        self.stage.put_on_server("example.png");
        self.start();
        self.hold_the_gpu();
        for (nth, name) in names.iter().enumerate() {
            self.drop_job(name);
            self.until("taken", |night| night.is_taken(name));
            if nth < 2 {
                self.until("sent", |night| night.pending().len() == nth + 1);
            }
        }
    }

    fn is_taken(&self, name: &str) -> bool {
        self.file_of("jobs/queued", name).is_some()
    }

    /// Nothing is sent: what is dropped now is taken, and that is all.
    #[track_caller]
    fn nothing_is_sent(&mut self) {
        let begun = self.begun();
        self.drop_job("late");
        self.until("taken", |night| night.is_taken("late"));
        assert_eq!((self.pending(), self.begun()), (Vec::new(), begun), "{}", self.judge().join("\n"));
    }

    /// The rest of the night; the jobs begin in this order.
    #[track_caller]
    fn until_over_in_order(&mut self, names: &[&str]) {
        self.until_over();
        assert_eq!(self.begun(), names, "{:?}", self.killed);
    }
}

const STRANGER: &str = "00000000-0000-4000-8000-000000000001";

fn ids(ids: &[u64]) -> Vec<JobId> {
    ids.iter().map(|id| JobId(*id)).collect()
}

fn cancelled(name: &'static str) -> impl Fn(&Night) -> bool {
    move |night: &Night| night.is_over(name) && night.file_of("jobs/failed", name).is_some()
}

fn cancel_waiting(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.expect("c", Fate::Cancelled { begun: 0 });
    night.arm();
    night.order(&Request::Cancel { jobs: ids(&[3]) }, cancelled("c"));
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["a", "b"]);
}

fn cancel_pending(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.expect("a", Fate::Cancelled { begun: 0 });
    night.arm();
    night.order(&Request::Cancel { jobs: ids(&[1]) }, cancelled("a"));
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["b", "c"]);
}

/// A render that does not end by itself.
fn long(night: &Night) {
    let mut graph = prompts::picture(1);
    graph["15"]["inputs"] = json!({"width": 4096, "height": 4096, "batch_size": 1});
    graph["16"]["inputs"]["steps"] = json!(10_000);
    fs::write(night.stage.at("workflows/long.json"), Value::Object(graph).to_string()).unwrap();
    let slot = "[[slot]]\nname = \"text\"\ntype = \"string\"\ninputs = [\"13.text\"]\n";
    fs::write(night.stage.at("workflows/long.toml"), slot).unwrap();
}

fn cancel_running(night: &mut Night) {
    long(night);
    night.start();
    night.drop_as("long", "a", Fate::Cancelled { begun: 1 });
    night.drop_job("b");
    night.until("begun", |night| night.begun() == ["a"]);
    night.arm();
    night.order(&Request::Cancel { jobs: ids(&[1]) }, cancelled("a"));
    night.disarm();
    night.until_over_in_order(&["a", "b"]);
}

/// Its POST is answered late: the cancel waits for that.
fn cancel_submitting(night: &mut Night) {
    long(night);
    night.scenario = "[[fault]]\non = { post = 1 }\ndo = { slow = 1.5 }\n".into();
    night.start();
    night.drop_as("long", "a", Fate::Cancelled { begun: 1 });
    night.until("on its way", |night| {
        night.happened().iter().any(|(event, name, _)| event == "accepted" && name == "a")
    });
    night.arm();
    night.order(&Request::Cancel { jobs: ids(&[1]) }, cancelled("a"));
}

fn hold_pending(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.arm();
    night.order(&Request::Hold { jobs: ids(&[1]) }, |night| night.pending() == ["b", "c"]);
    night.disarm();
    night.let_go();
    night.until("the others", |night| night.is_over("b") && night.is_over("c"));
    night.order(&Request::Release { jobs: ids(&[1]) }, |night| night.is_over("a"));
    night.until_over_in_order(&["b", "c", "a"]);
}

fn release(night: &mut Night) {
    night.start();
    night.expect("a", Fate::Done { renders: 1, outputs: 1 });
    fs::create_dir_all(night.stage.at("jobs/held")).unwrap();
    fs::copy(night.stage.at("jobs/start.png"), night.stage.at("jobs/held/start.png")).unwrap();
    night.stage.drop_into("jobs/held", "a.json", job("shot", "a"));
    night.until("taken", |night| night.is_taken("a"));
    night.arm();
    night.order(&Request::Release { jobs: ids(&[1]) }, |night| night.begun() == ["a"]);
    night.disarm();
    night.until_over();
}

fn pause(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.arm();
    night.order(&Request::Pause { servers: Vec::new() }, |night| night.pending().is_empty());
    night.disarm();
    night.let_go();
    night.nothing_is_sent();
    night.order(&Request::Resume { servers: Vec::new() }, |_| true);
    night.until_over_in_order(&["a", "b", "c", "late"]);
}

fn resume(night: &mut Night) {
    night.start();
    night.give(|night| night.ask(Request::Pause { servers: Vec::new() }).map(drop));
    for name in ["a", "b"] {
        night.drop_job(name);
        night.until("taken", |night| night.is_taken(name));
    }
    night.arm();
    // Who dies while the first is on its way may see the second begin: it asks for the first before it sends it again.
    night.order(&Request::Resume { servers: Vec::new() }, |night| night.begun().len() == 2);
    night.disarm();
    night.until_over();
}

fn drain(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.arm();
    night.order(&Request::Drain { servers: Vec::new() }, |_| true);
    night.let_go();
    night.until("what was sent", |night| night.is_over("a") && night.is_over("b"));
    night.disarm();
    night.nothing_is_sent();
    night.order(&Request::Resume { servers: Vec::new() }, |_| true);
    night.until_over_in_order(&["a", "b", "c", "late"]);
}

fn move_to_the_top(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c", "d"]);
    night.arm();
    let request = Request::Move { jobs: ids(&[4]), to: MoveTo::Top };
    night.order(&request, |night| night.pending() == ["d", "a"]);
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["d", "a", "b", "c"]);
}

fn priority(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c", "d"]);
    night.arm();
    let request = Request::Priority { jobs: ids(&[4]), priority: NewPriority::Is(5) };
    night.order(&request, |night| night.pending() == ["d", "a"]);
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["d", "a", "b", "c"]);
}

/// One job is done, and the server busy with somebody else's.
fn done_once(night: &mut Night) {
    night.stage.put_on_server("example.png");
    night.start();
    night.drop_as("shot", "a", Fate::Done { renders: 2, outputs: 2 });
    night.until_over();
    night.hold_the_gpu();
}

/// The second render of it, and its end.
fn done_twice(night: &mut Night) {
    night.disarm();
    night.let_go();
    night.until("done again", |night| night.is_over("a") && night.stage.names("outputs").len() == 2);
}

fn requeue(night: &mut Night) {
    done_once(night);
    night.arm();
    let request = Request::Requeue { jobs: ids(&[1]), new_seed: false };
    night.order(&request, |night| night.pending() == ["a"] && night.is_taken("a"));
    done_twice(night);
}

/// Gives the job's text another ending.
fn edit(night: &mut Night, id: u64, name: &str) {
    let (wanted, mut unheard) = (job("shot", &format!("{name} edited")), false);
    night.give(|night| {
        let answer = night.ask(Request::Edit { job: JobId(id), text: wanted.clone() });
        unheard |= answer.is_none();
        let refused = match answer? {
            Ok(Answer::Each(each)) => each.into_iter().find_map(|(_, done)| done.err()),
            Ok(_) => None,
            Err(why) => Some(why),
        };
        assert!(refused.is_none() || unheard, "{refused:?}");
        Some(())
    });
    let is_new = |(event, of, line): &(String, String, Value)| {
        event == "accepted" && of == name && line["texts"][0] == format!("{name} edited")
    };
    night.until("sent as edited", |night| {
        night.happened().iter().any(is_new) && night.pending().contains(&name.to_owned())
    });
}

fn edit_pending(night: &mut Night) {
    night.wait_in_line(&["a", "b"]);
    night.arm();
    edit(night, 1, "a");
    night.until("in its old place", |night| night.pending() == ["a", "b"]);
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["a", "b"]);
}

fn edit_done(night: &mut Night) {
    done_once(night);
    night.arm();
    edit(night, 1, "a");
    done_twice(night);
}

fn add(night: &mut Night) {
    night.start();
    night.expect("a", Fate::Done { renders: 1, outputs: 1 });
    let (name, dir) = ("a.json".to_owned(), night.stage.at("jobs"));
    let request = Request::Add { name, dir, text: job("shot", "a"), no_preflight: false };
    night.until("an engine", |night| night.ask(Request::Status).is_some());
    night.arm();
    night.give(|night| {
        // Who was not answered looks whether it was taken all the same: once an engine answers, that is so or not.
        let _ = night.ask(Request::Status)?;
        let is_there = night.is_taken("a") || night.file_of("jobs/done", "a").is_some();
        if is_there { Some(()) } else { night.ask(request.clone()).map(|answer| drop(answer.unwrap())) }
    });
    night.until("taken", |night| night.is_taken("a") || night.is_over("a"));
    night.disarm();
    night.until_over();
}

fn discard(night: &mut Night) {
    night.start();
    night.drop_as("shot", "a", Fate::Done { renders: 1, outputs: 0 });
    night.until_over();
    night.arm();
    let request = Request::Mark { attempts: vec![(JobId(1), 1)], mark: Some(Mark::Discarded) };
    // Where they lie now is written down as well.
    night.order(&request, |night| {
        let there = fs::read_dir(night.stage.at("outputs/.discarded")).into_iter().flatten().count();
        let shown = night.ask(Request::List).is_some_and(|said| format!("{said:?}").contains("outputs/.discarded/"));
        there == 1 && night.stage.names("outputs").is_empty() && shown
    });
}

fn clean(night: &mut Night) {
    let limits = "[keep]\ndays = 0\ninputs = 0\ncache = 0\nlog = 20\n";
    night.stage.configure(&format!("{QUEUE}{limits}"));
    night.start();
    night.drop_job("a");
    night.until_over();
    for log in ["engine.log", "engine.log.1"] {
        fs::write(night.stage.at(".comfytop").join(log), "a line that is long enough\nthe last line\n").unwrap();
    }
    night.arm();
    night.order(&Request::Clean { pretend: false }, |night| night.stage.names(".comfytop/inputs").is_empty());
    let log = night.stage.text(".comfytop/engine.log");
    assert!(["the last line\n", ""].contains(&log.as_str()), "{log:?}");
}

/// What waits at the server is taken back before the answer; the next engine sends it again. An engine that is told to
/// stop before it has found the server leaves it there: where the one that was told has died, that is waited for.
fn stop(night: &mut Night) {
    night.wait_in_line(&["a", "b", "c"]);
    night.arm();
    night.give(|night| {
        let Some(Ok(Answer::Status(status))) = night.ask(Request::Status) else { return None };
        let found = status.servers.iter().all(|server| matches!(server.link, Link::Up { .. }));
        if found { night.ask(Request::Stop).map(|answer| assert_eq!(answer, Ok(Answer::Done))) } else { None }
    });
    // The next engine is started only below.
    assert_eq!(night.pending(), [] as [&str; 0], "{:?}", night.killed);
    night.disarm();
    night.let_go();
    night.until_over_in_order(&["a", "b", "c"]);
}
