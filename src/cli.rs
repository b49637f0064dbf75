//! The command line: words in, one verb called, an exit code out.
//!
//! The door: it may call any room, reads the config file and the environment, and decides nothing
//! about jobs.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a face answers by printing")]

mod args;
mod paper;
mod place;
mod queue;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::config::{PictureMeans, UiConfig};
use crate::folder::Folder;
use crate::job::JobId;
use crate::link::{self, Address, LinkError, Talk};
use crate::protocol::Request;
use crate::tools;
use crate::tools::doctor::Patient;
use crate::tui;
use crate::tui::attach::Door;
use crate::verbs::{self, Code};
use crate::workflow::convert::When;
use args::{Args, PlaceArgs, Verb, WorkflowVerb};
use place::{Place, Trouble};

/// Runs the program and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let told = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return exit(if told { Code::Ok } else { Code::Usage });
        }
    };
    match run(args) {
        Ok(code) => exit(code),
        Err(trouble) => {
            eprintln!("comfytop: {trouble}");
            exit(trouble.code())
        }
    }
}

fn exit(code: Code) -> ExitCode {
    ExitCode::from(code as u8)
}

fn run(args: Args) -> Result<Code, Trouble> {
    let out = &mut std::io::stdout().lock();
    let asks = args.place.clone();
    match args.verb {
        None => {
            // Before a folder is made for nobody.
            ask_for_terminal("for scripts there are verbs: `comfytop --help`")?;
            dashboard(&Place::settle_or_make(&asks)?, args.pictures)
        }
        Some(Verb::Engine { detached, look_only }) => {
            let place = if look_only { Place::settle(&asks)? } else { Place::settle_or_make(&asks)? };
            engine(&place, detached, look_only)
        }
        Some(Verb::Add { files, dry_run: true }) => paper::dry_run(&Place::as_it_is(&asks)?, &files, out),
        Some(Verb::Add { files, dry_run: false }) => {
            // Before a folder is made for nothing.
            if !files.iter().any(|file| file.exists()) {
                for file in &files {
                    eprintln!("comfytop: {}: there is no such file", shown(file));
                }
                return Ok(Code::No);
            }
            let place = Place::settle_or_make(&asks)?;
            Ok(verbs::add(&mut starting(&place, false)?, &files, place.no_preflight, out)?)
        }
        Some(verb @ (Verb::Check { .. } | Verb::New { .. } | Verb::Extract { .. } | Verb::Workflow(_))) => {
            on_paper(verb, &asks, out)
        }
        Some(Verb::Requeue { jobs, group, new_seed }) => {
            let mut talk = starting(&Place::settle(&asks)?, false)?;
            let jobs = verbs::with_groups(&mut talk, ids(&jobs), group)?;
            Ok(verbs::each(&mut talk, Request::Requeue { jobs, new_seed }, out)?)
        }
        Some(Verb::Hold { jobs, group }) => {
            let mut talk = running(&Place::settle(&asks)?)?;
            let jobs = verbs::with_groups(&mut talk, ids(&jobs), group)?;
            Ok(verbs::each(&mut talk, Request::Hold { jobs }, out)?)
        }
        Some(Verb::Release { jobs, group }) => {
            let mut talk = starting(&Place::settle(&asks)?, false)?;
            let jobs = verbs::with_groups(&mut talk, ids(&jobs), group)?;
            Ok(verbs::each(&mut talk, Request::Release { jobs }, out)?)
        }
        Some(Verb::Queue(verb)) => queue::run(&asks, verb, out),
        Some(Verb::Doctor { json }) => doctor(asks, json),
        Some(Verb::Clean { dry_run }) => {
            Ok(verbs::clean_up(&mut starting(&Place::settle(&asks)?, true)?, dry_run, out)?)
        }
        Some(Verb::Cancel { jobs, group }) => {
            let mut talk = running(&Place::settle(&asks)?)?;
            let jobs = verbs::with_groups(&mut talk, ids(&jobs), group)?;
            Ok(verbs::each(&mut talk, Request::Cancel { jobs }, out)?)
        }
        Some(Verb::Stop) => Ok(verbs::stop(running(&Place::settle(&asks)?)?)?),
        Some(Verb::Ls { json }) => Ok(verbs::ls(&mut starting(&Place::settle(&asks)?, true)?, json, out)?),
        Some(Verb::Show { job, graph }) => {
            Ok(verbs::show(&mut starting(&Place::settle(&asks)?, true)?, JobId(job), graph, out)?)
        }
        Some(Verb::Wait { jobs, all: _, timeout }) => {
            Ok(verbs::wait(starting(&Place::settle(&asks)?, true)?, ids(&jobs), timeout)?)
        }
        Some(Verb::Status { json }) => Ok(verbs::status(&mut starting(&Place::settle(&asks)?, true)?, json, out)?),
        Some(Verb::Examine { order, file }) => {
            let order = serde_json::from_str(&order).map_err(|error| Trouble::Usage(error.to_string()))?;
            let answered = crate::video::apart::answer(&order, &file, out);
            Ok(if answered.is_ok() { Code::Ok } else { Code::No })
        }
        Some(Verb::Repair(repair)) => {
            refuse_place(&asks, "repair", "it needs no render folder")?;
            let thresholds = Place::thresholds(&asks)?;
            let options = crate::tools::measure::Options { json: repair.json, thresholds, ..Default::default() };
            let told = crate::tools::repair::run(&repair.file, repair.named(), &options, out);
            told.map_err(|error| Trouble::Repair { path: repair.file, error })?;
            Ok(Code::Ok)
        }
        Some(Verb::Measure { files, curves, json }) => {
            refuse_place(&asks, "measure", "it needs no render folder")?;
            let thresholds = Place::thresholds(&asks)?;
            let options = crate::tools::measure::Options { json, curves, thresholds, ..Default::default() };
            let all = crate::tools::measure::run(&files, &options, out).unwrap_or(false);
            Ok(if all { Code::Ok } else { Code::No })
        }
        Some(Verb::Demo(options)) => {
            refuse_place(&asks, "demo", "it has a folder and a server of its own")?;
            demo(&options, args.pictures)
        }
        Some(Verb::Sim(options)) => {
            refuse_place(&asks, "sim", "it is a server; `--files FOLDER` keeps its files")?;
            sim(&options)
        }
    }
}

fn doctor(asks: PlaceArgs, json: bool) -> Result<Code, Trouble> {
    let mut place = Place::settle(&asks)?;
    let talk = Talk::open(&place.address()?, None).ok();
    let engine = talk.as_ref().map(|talk| &talk.engine).filter(|engine| !engine.look_only);
    // The server that is worked with, which may not be the config's.
    if let (None, Some(named)) = (&place.server, engine.and_then(|engine| engine.server.clone())) {
        place = Place::settle(&PlaceArgs { server: Some(named), ..asks })?;
    }
    let config = &place.config;
    let inboxes: Vec<_> = config.inboxes.iter().map(|i| i.path.clone()).collect();
    let folder = Folder::with(&place.root, &inboxes, &config.outputs.path, place.asked_state.as_deref())
        .map_err(|source| Trouble::Folder { path: place.root.clone(), source })?;
    let patient = Patient { folder: &folder, config, engine, version: link::VERSION };
    let findings = runtime()?.block_on(crate::tools::doctor::examine(&patient));
    // A closed pipe is no error of ours.
    let well = crate::tools::doctor::tell(&findings, json, &mut std::io::stdout().lock()).unwrap_or(false);
    Ok(if well { Code::Ok } else { Code::No })
}

/// Verbs without a render folder take no flag that names one: it would mean nothing.
fn refuse_place(asks: &args::PlaceArgs, verb: &str, why: &str) -> Result<(), Trouble> {
    match asks.given() {
        Some(flag) => Err(Trouble::Usage(format!("`comfytop {verb}` takes no {flag}: {why}"))),
        None => Ok(()),
    }
}

fn ask_for_terminal(else_there_is: &str) -> Result<(), Trouble> {
    if tui::terminal::is_terminal() {
        return Ok(());
    }
    Err(Trouble::Usage(format!("the dashboard needs a terminal; {else_there_is}")))
}

/// The verbs about job files and workflows, which need no engine.
fn on_paper(verb: Verb, asks: &PlaceArgs, out: &mut dyn std::io::Write) -> Result<Code, Trouble> {
    match verb {
        Verb::Check { files, object_info } => {
            paper::check(&Place::as_it_is(asks)?, &files, object_info.as_deref(), out)
        }
        Verb::New { workflow, output } => {
            paper::new(&Place::as_it_is(asks)?, workflow.as_deref(), output.as_deref(), out)
        }
        Verb::Extract { file, page, object_info } => paper::extract(&file, page, object_info.as_deref(), out),
        Verb::Workflow(WorkflowVerb::Convert { file, object_info }) => {
            convert(asks, &file, object_info.as_deref(), out)
        }
        Verb::Workflow(WorkflowVerb::Ls) => paper::workflows(&Place::as_it_is(asks)?, out),
        Verb::Workflow(WorkflowVerb::Show { name }) => paper::workflow(&Place::as_it_is(asks)?, &name, out),
        Verb::Workflow(WorkflowVerb::Infer { file }) => {
            Ok(paper::infer(&Place::as_it_is(asks)?.config.servers, &file, out))
        }
        // the others are `run`'s
        _ => Ok(Code::Usage),
    }
}

fn ids(jobs: &[u64]) -> Vec<JobId> {
    jobs.iter().copied().map(JobId).collect()
}

/// A connection to the engine that runs; none is started.
fn running(place: &Place) -> Result<Talk, Trouble> {
    let talk = Talk::open(&place.address()?, place.server.as_deref())?;
    // One that only looks for somebody else is none to command.
    if talk.engine.look_only { Err(Trouble::Link(LinkError::NoEngine)) } else { Ok(talk) }
}

/// A connection to the engine; one is started where none runs (`look_only`: one that takes nothing).
fn starting(place: &Place, look_only: bool) -> Result<Talk, Trouble> {
    let address = place.address()?;
    match Talk::open(&address, place.server.as_deref()) {
        Err(LinkError::NoEngine) => {}
        // It looked for somebody else, at another server.
        Err(LinkError::Refused { .. }) if link::end_looking(&address) => {}
        other => return Ok(other?),
    }
    Ok(link::start(&address, &launch(place, look_only), place.server.as_deref())?)
}

/// How the engine of this place is started by another process.
fn launch(place: &Place, look_only: bool) -> link::Launch {
    let mut args: Vec<OsString> = vec!["--dir".into(), place.root.clone().into()];
    if let Some(server) = &place.server {
        args.extend(["--server".into(), server.into()]);
    }
    if let Some(state) = &place.asked_state {
        args.extend(["--state".into(), state.into()]);
    }
    if place.no_preflight {
        args.push("--no-preflight".into());
    }
    args.extend(["engine".into(), "--detached".into()]);
    if look_only {
        args.push("--look-only".into());
    }
    link::Launch { args, log: place.log() }
}

fn engine(place: &Place, detached: bool, look_only: bool) -> Result<Code, Trouble> {
    let log = place.log();
    if detached {
        leave_session();
        crate::engine::log::to_file(&log).map_err(|e| Trouble::Log { path: log.clone(), source: e })?;
    } else {
        crate::engine::log::to_stderr();
    }
    if !look_only {
        link::end_looking(&place.address()?);
    }
    let options = crate::engine::Options {
        root: place.root.clone(),
        state: place.asked_state.clone(),
        config: place.config.clone(),
        look_only,
        server: place.server.clone(),
        simulated: false,
        ends_with_faces: look_only,
        program: crate::video::apart::this_program(),
        log: log.display().to_string(),
    };
    let runtime = runtime()?;
    let result = runtime.block_on(crate::engine::run(options));
    // A measurement that still runs is done again by the next engine.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result.map(|()| Code::Ok).map_err(|error| {
        if detached {
            // Nobody else hears it.
            tracing::error!("{error}");
        }
        Trouble::Engine(error)
    })
}

/// Out of the login session: its end must not be ours.
fn leave_session() {
    #[cfg(unix)]
    // Fails only where we lead a group already; then there is no terminal to lose either.
    let _ = rustix::process::setsid();
}

fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Trouble::Runtime)
}

fn convert(
    asks: &PlaceArgs,
    file: &Path,
    object_info: Option<&Path>,
    out: &mut dyn std::io::Write,
) -> Result<Code, Trouble> {
    let info = match object_info {
        Some(path) => tools::convert::object_info(path)?,
        None => runtime()?.block_on(tools::convert::ask(&Place::as_it_is(asks)?.config.servers))?,
    };
    let when = When { now: jiff::Zoned::now().datetime(), seed: fastrand::u64(..) };
    tools::convert::run(file, &info, when, out, &mut std::io::stderr())?;
    Ok(Code::Ok)
}

fn sim(options: &args::SimArgs) -> Result<Code, Trouble> {
    crate::engine::log::to_stderr();
    let options = options.options().map_err(Trouble::Usage)?;
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, options.1));
    runtime()?.block_on(async {
        let listener =
            tokio::net::TcpListener::bind(address).await.map_err(|e| Trouble::Usage(format!("{address}: {e}")))?;
        let bound = listener.local_addr().unwrap_or(address);
        let _ = writeln!(
            std::io::stdout(),
            "a simulated ComfyUI {} listens on http://{bound}",
            options.0.dialect.version()
        );
        crate::sim::serve(listener, options.0).await.map_err(|e| Trouble::Usage(e.to_string()))?;
        Ok(Code::Ok)
    })
}

fn dashboard(place: &Place, pictures: Option<PictureMeans>) -> Result<Code, Trouble> {
    let door = Door { address: place.address()?, launch: launch(place, false), server: place.server.clone() };
    show(&place.root, &place.inbox(), &place.config.ui, pictures, door)
}

/// Opens the dashboard; the engine goes on when it closes.
fn show(root: &Path, inbox: &str, ui: &UiConfig, pictures: Option<PictureMeans>, door: Door) -> Result<Code, Trouble> {
    let mut ui = ui.clone();
    let named = std::env::var("COMFYTOP_PICTURES").ok().filter(|word| !word.trim().is_empty());
    let named = named.map(|word| word.parse().map_err(|error| Trouble::Usage(format!("COMFYTOP_PICTURES: {error}"))));
    ui.pictures = pictures.or(named.transpose()?).unwrap_or(ui.pictures);
    ui.color &= std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let links = tui::terminal::host().filter(|_| ui.links);
    let app = tui::App::new(tui::Setup {
        ui,
        links,
        zone: jiff::tz::TimeZone::system(),
        folder: shown(root),
        inbox: inbox.to_owned(),
        home: std::env::home_dir().map(|h| shown(&h)),
        now: jiff::Timestamp::now(),
        size: tui::terminal::size(),
        depth: tui::terminal::depth(),
    });
    let outcome = tui::run(app, tui::attach::attach(door)).map_err(Trouble::Terminal)?;
    Ok(match outcome {
        tui::Outcome::Left => Code::Ok,
        tui::Outcome::Signal(_) | tui::Outcome::HungUp => Code::No,
    })
}

fn demo(args: &args::DemoArgs, pictures: Option<PictureMeans>) -> Result<Code, Trouble> {
    let options = args.options();
    if let Some(root) = &args.serve {
        leave_session();
        let log = root.join("demo.log");
        crate::engine::log::to_file(&log).map_err(|e| Trouble::Log { path: log, source: e })?;
        let served = crate::demo::serve(root, options.jobs, options.render_seconds.unwrap_or(1.0));
        runtime()?.block_on(served).map_err(Trouble::Engine)?;
        return Ok(Code::Ok);
    }
    if options.headless {
        let rows = crate::demo::headless(&options).map_err(Trouble::Demo)?;
        return Ok(verbs::demo(&rows, options.jobs, args.json, &mut std::io::stdout().lock()));
    }
    ask_for_terminal("`comfytop demo --headless` runs without one")?;
    let stage = crate::demo::Stage::set().map_err(Trouble::Demo)?;
    let address = Address::of(stage.root())?;
    let launch = stage.launch(&options);
    let inbox = shown(&stage.root().join("jobs"));
    show(stage.root(), &inbox, &UiConfig::default(), pictures, Door { address, launch, server: None })
}

/// The render folder of a path, as people write it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
