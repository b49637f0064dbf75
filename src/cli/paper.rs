//! The verbs about job files and workflows: they need no engine, and take nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{PlaceArgs, WorkflowVerb};
use super::place::{Place, Trouble};
use super::{runtime, shown};
use crate::comfy::{Client, Patience};
use crate::config::{DEFAULT_SERVER, ServerConfig};
use crate::tools::jobs::Ground;
use crate::tools::{draft, extract as extracting, jobs, workflows};
use crate::verbs::Code;
use crate::workflow::object_info::ObjectInfo;

fn code(well: bool) -> Code {
    if well { Code::Ok } else { Code::No }
}

fn servers(place: &Place) -> Vec<ServerConfig> {
    if place.config.servers.is_empty() { vec![ServerConfig::at(DEFAULT_SERVER)] } else { place.config.servers.clone() }
}

fn written(result: std::io::Result<bool>) -> Result<Code, Trouble> {
    // A closed pipe is no error of ours.
    Ok(result.map_or(Code::No, code))
}

pub(super) fn check(
    place: &Place,
    files: &[PathBuf],
    object_info: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Code, Trouble> {
    let folder = place.folder()?;
    let servers = servers(place);
    let names: Vec<String> = servers.iter().map(ServerConfig::label).collect();
    let info = match object_info {
        Some(path) => Some((read_info(path)?, "the server".to_owned())),
        None if place.no_preflight || !place.config.queue.preflight => None,
        None => {
            let asked = servers.first().and_then(|server| Some((ask(server)?, server.label())));
            if asked.is_none() {
                eprintln!("comfytop: no server answers: the graphs were not held against what it can do");
            }
            asked
        }
    };
    let ground = Ground {
        folder: &folder,
        servers: &names,
        workflow: place.config.inboxes.first().and_then(|inbox| inbox.workflow.as_deref()),
        info: info.as_ref().map(|(info, name)| (info, name.as_str())),
    };
    written(jobs::check(&ground, files, out))
}

pub(super) fn dry_run(place: &Place, files: &[PathBuf], out: &mut dyn Write) -> Result<Code, Trouble> {
    let folder = place.folder()?;
    let names: Vec<String> = servers(place).iter().map(ServerConfig::label).collect();
    let workflow = place.config.inboxes.first().and_then(|inbox| inbox.workflow.as_deref());
    written(jobs::dry_run(&Ground { folder: &folder, servers: &names, workflow, info: None }, files, out))
}

/// A saved answer, gzipped or not.
fn read_info(path: &Path) -> Result<ObjectInfo, Trouble> {
    let trouble = |why: String| Trouble::Usage(format!("{}: {why}", shown(path)));
    let bytes = std::fs::read(path).map_err(|error| trouble(error.to_string()))?;
    let mut text = String::new();
    if bytes.starts_with(b"\x1f\x8b") {
        use std::io::Read as _;
        // what is smaller packed than this is no answer of a server
        let most = 256 << 20;
        let unpacked = flate2::read::GzDecoder::new(bytes.as_slice()).take(most).read_to_string(&mut text);
        unpacked.map_err(|error| trouble(error.to_string()))?;
    } else {
        text = crate::lenient::repair(&bytes);
    }
    ObjectInfo::parse(&text).map_err(|error| trouble(error.to_string()))
}

/// What a server says of its nodes; nothing where it does not answer soon.
fn ask(server: &ServerConfig) -> Option<ObjectInfo> {
    let patience = Patience { connect: Duration::from_secs(2), ..Patience::default() };
    let client = Client::with_patience(&server.url, &server.headers, patience).ok()?;
    let text = runtime().ok()?.block_on(client.object_info_text()).ok()?;
    ObjectInfo::parse(&text).ok()
}

pub(super) fn new(
    place: &Place,
    workflow: Option<&str>,
    output: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Code, Trouble> {
    let folder = place.folder()?;
    let names = workflows::names(&folder);
    let Some(name) = workflow.or_else(|| names.first().map(String::as_str)) else {
        return Err(Trouble::Usage("there are no workflows yet: put a graph into workflows/".to_owned()));
    };
    let workflow = workflows::read_workflow(&folder, name).map_err(Trouble::Usage)?;
    let text = draft::job_file(&workflow, &names);
    if output == Some(Path::new("-")) {
        let _ = out.write_all(text.as_bytes());
        return Ok(Code::Ok);
    }
    let path = output.map_or_else(|| PathBuf::from(format!("{name}.toml")), Path::to_owned);
    let trouble = |source| Trouble::Folder { path: path.clone(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().map_err(trouble)?;
    if let Some(inbox) = folder.inboxes.iter().find(|inbox| inbox.canonicalize().is_ok_and(|inbox| inbox == dir)) {
        let inbox = shown(inbox);
        return Err(Trouble::Usage(format!(
            "{inbox} is an inbox, and would take it unfilled: name another place with -o"
        )));
    }
    // one that is there is somebody's work
    let mut file = std::fs::File::create_new(&path).map_err(trouble)?;
    file.write_all(text.as_bytes()).map_err(trouble)?;
    let _ = writeln!(out, "{}", shown(&path));
    Ok(Code::Ok)
}

pub(super) fn extract(file: &Path, page: bool, out: &mut dyn Write) -> Result<Code, Trouble> {
    match extracting::run(file, page, out) {
        Ok(()) => Ok(Code::Ok),
        Err(error) => {
            eprintln!("comfytop: {}: {error}", shown(file));
            Ok(Code::No)
        }
    }
}

pub(super) fn workflow(asks: &PlaceArgs, verb: &WorkflowVerb, out: &mut dyn Write) -> Result<Code, Trouble> {
    match verb {
        WorkflowVerb::Ls => written(workflows::ls(&Place::as_it_is(asks)?.folder()?, out)),
        WorkflowVerb::Show { name } => match workflows::read_workflow(&Place::as_it_is(asks)?.folder()?, name) {
            Ok(workflow) => written(workflows::show(&workflow, out).map(|()| true)),
            Err(why) => {
                eprintln!("comfytop: {why}");
                Ok(Code::No)
            }
        },
        WorkflowVerb::Infer { file } => match workflows::infer(file, out) {
            Ok(()) => Ok(Code::Ok),
            Err(why) => {
                eprintln!("comfytop: {}: {why}", shown(file));
                Ok(Code::No)
            }
        },
    }
}
