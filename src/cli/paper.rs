//! The verbs about job files and workflows: they need no engine, and take nothing.

use std::cell::LazyCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{Place, Trouble};
use super::{runtime, shown};
use crate::config::{DEFAULT_SERVER, ServerConfig};
use crate::job_file::Format;
use crate::tools::jobs::Ground;
use crate::tools::{convert, draft, extract as extracting, jobs, workflows};
use crate::verbs::Code;
use crate::workflow::object_info::ObjectInfo;

fn code(well: bool) -> Code {
    if well { Code::Ok } else { Code::No }
}

fn servers(place: &Place) -> Vec<ServerConfig> {
    if place.config.servers.is_empty() { vec![ServerConfig::at(DEFAULT_SERVER)] } else { place.config.servers.clone() }
}

/// What a server says of its nodes: for graphs of the page, and asked only where there is one.
fn asked(servers: &[ServerConfig]) -> Option<ObjectInfo> {
    runtime().ok()?.block_on(convert::ask(servers)).ok()
}

fn written(result: std::io::Result<bool>) -> Code {
    // A closed pipe is no error of ours.
    result.map_or(Code::No, code)
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
    let preflight = !place.no_preflight && place.config.queue.preflight;
    let info = if let Some(path) = object_info {
        Some(convert::object_info(path)?)
    } else {
        let told = asked(&place.config.servers);
        if told.is_none() && preflight {
            eprintln!("comfytop: no server answers: the graphs were not held against what it can do");
        }
        told
    };
    let ground = Ground {
        folder: &folder,
        config: &place.config,
        servers: &names,
        info: info.map(|info| (Arc::new(info), "the server")),
        preflight,
    };
    Ok(written(jobs::check(&ground, files, out)))
}

pub(super) fn dry_run(place: &Place, files: &[PathBuf], out: &mut dyn Write) -> Result<Code, Trouble> {
    let folder = place.folder()?;
    let names: Vec<String> = servers(place).iter().map(ServerConfig::label).collect();
    // for graphs of the page; what is wrong at the server is `check`'s to say
    let told = asked(&place.config.servers);
    let info = told.map(|info| (Arc::new(info), "the server"));
    let ground = Ground { folder: &folder, config: &place.config, servers: &names, info, preflight: true };
    Ok(written(jobs::dry_run(&ground, files, out)))
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
    let info = LazyCell::new(|| asked(&place.config.servers));
    let workflow = workflows::read_workflow(&folder, name, &|| info.as_ref()).map_err(Trouble::Usage)?;
    let text = draft::job_file(&workflow, &names);
    if output == Some(Path::new("-")) {
        let _ = out.write_all(text.as_bytes());
        return Ok(Code::Ok);
    }
    let path = output.map_or_else(|| PathBuf::from(format!("{name}.toml")), Path::to_owned);
    if let Some(format) = Format::of(&path.to_string_lossy()).filter(|format| *format != Format::Toml) {
        let better = shown(&path.with_extension("toml"));
        let words = format!("{}: what `new` writes is TOML, not {}: name it {better}", shown(&path), format.name());
        return Err(Trouble::Usage(words));
    }
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

pub(super) fn extract(
    file: &Path,
    page: bool,
    object_info: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Code, Trouble> {
    let info = object_info.map(convert::object_info).transpose()?;
    Ok(match extracting::run(file, page, info.as_ref(), out) {
        Ok(()) => Code::Ok,
        Err(error) => {
            eprintln!("comfytop: {}: {error}", shown(file));
            Code::No
        }
    })
}

pub(super) fn workflows(place: &Place, out: &mut dyn Write) -> Result<Code, Trouble> {
    let info = LazyCell::new(|| asked(&place.config.servers));
    Ok(written(workflows::ls(&place.folder()?, &|| info.as_ref(), out)))
}

pub(super) fn workflow(place: &Place, name: &str, out: &mut dyn Write) -> Result<Code, Trouble> {
    let info = LazyCell::new(|| asked(&place.config.servers));
    match workflows::read_workflow(&place.folder()?, name, &|| info.as_ref()) {
        Ok(workflow) => Ok(written(workflows::show(&workflow, out).map(|()| true))),
        Err(why) => {
            eprintln!("comfytop: {why}");
            Ok(Code::No)
        }
    }
}

pub(super) fn infer(servers: &[ServerConfig], file: &Path, out: &mut dyn Write) -> Code {
    let info = LazyCell::new(|| asked(servers));
    match workflows::infer(file, &|| info.as_ref(), out) {
        Ok(()) => Code::Ok,
        Err(why) => {
            eprintln!("comfytop: {}: {why}", shown(file));
            Code::No
        }
    }
}
