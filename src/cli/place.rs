//! Where comfytop works and with what settings: flags over environment over file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::args::PlaceArgs;
use crate::comfy::Client;
use crate::config::DEFAULT_INBOX;
use crate::config::{Config, ConfigError, ServerConfig};
use crate::engine::EngineError;
use crate::folder::{self, CONFIG, Folder, Found, STATE};
use crate::job_file::Format;
use crate::link::{Address, LinkError};
use crate::tools;
use crate::verbs::Code;
use crate::verdict::Thresholds;

/// A render folder with its settings.
#[derive(Debug, Clone)]
pub struct Place {
    pub root: PathBuf,
    pub config: Config,
    /// The server that a flag or the environment named.
    pub server: Option<String>,
    /// `--state`.
    pub asked_state: Option<PathBuf>,
    /// `--no-preflight`.
    pub no_preflight: bool,
}

/// Why a verb could not be carried out.
#[derive(Debug)]
pub enum Trouble {
    Usage(String),
    NoFolder(PathBuf),
    /// It has an inbox already, with files in it that may be somebody else's.
    Foreign(PathBuf),
    Config(ConfigError),
    Folder {
        path: PathBuf,
        source: io::Error,
    },
    Log {
        path: PathBuf,
        source: io::Error,
    },
    Link(LinkError),
    Engine(EngineError),
    Demo(String),
    Convert(tools::convert::Trouble),
    Repair {
        path: PathBuf,
        error: crate::tools::repair::Trouble,
    },
    Runtime(io::Error),
    Terminal(io::Error),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<tools::convert::Trouble> for Trouble {
    fn from(error: tools::convert::Trouble) -> Self {
        Self::Convert(error)
    }
}

impl Trouble {
    pub fn code(&self) -> Code {
        match self {
            Self::NoFolder(_) | Self::Link(_) | Self::Convert(tools::convert::Trouble::Server(_)) => Code::Nobody,
            Self::Usage(_) | Self::Foreign(_) | Self::Config(_) | Self::Convert(_) => Code::Usage,
            _ => Code::No,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Demo(why) => f.write_str(why),
            Self::NoFolder(at) => write!(
                f,
                "no render folder here ({}) or above; `comfytop` or `comfytop add` makes one, `--dir` names one",
                super::shown(at)
            ),
            Self::Foreign(at) => write!(
                f,
                "{} is no render folder, and its jobs/ holds files that may be meant for something else; to make it one, and take them: --dir {0}",
                super::shown(at)
            ),
            Self::Config(error) => error.fmt(f),
            Self::Folder { path, source } | Self::Log { path, source } => write!(f, "{}: {source}", super::shown(path)),
            Self::Link(error @ LinkError::NoEngine) => write!(f, "{error}; `comfytop` or `comfytop engine` starts one"),
            Self::Link(error) => error.fmt(f),
            Self::Repair { path, error } => write!(f, "{}: {error}", crate::text::clean(&super::shown(path))),
            Self::Engine(error) => error.fmt(f),
            Self::Convert(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "the async runtime can't start: {error}"),
            Self::Terminal(error) => write!(f, "the terminal: {error}"),
        }
    }
}

fn holds_job_files(root: &Path) -> bool {
    let entries = std::fs::read_dir(root.join(DEFAULT_INBOX)).into_iter().flatten().flatten();
    let is_job = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| !name.starts_with('.') && Format::of(name).is_some())
    };
    entries.into_iter().any(|entry| is_job(&entry))
}

impl Place {
    /// The render folder that is there.
    pub fn settle(args: &PlaceArgs) -> Result<Self, Trouble> {
        match Self::find(args)? {
            Found::Here(root) => Self::at(&root, args),
            Found::New(root) => Err(match hidden(&root) {
                Some(source) => Trouble::Folder { path: root, source },
                None => Trouble::NoFolder(root),
            }),
        }
    }

    /// The render folder that is there, else the folder itself, left as it is: for verbs that only want the
    /// settings.
    pub fn as_it_is(args: &PlaceArgs) -> Result<Self, Trouble> {
        let (Found::Here(root) | Found::New(root)) = Self::find(args)?;
        Self::at(&root, args)
    }

    /// The render folder that is there, or a new one; says what will be created.
    pub fn settle_or_make(args: &PlaceArgs) -> Result<Self, Trouble> {
        match Self::find(args)? {
            Found::Here(root) => Self::at(&root, args),
            Found::New(root) if args.dir.is_none() && holds_job_files(&root) => Err(Trouble::Foreign(root)),
            Found::New(root) => {
                eprintln!(
                    "comfytop: {} becomes a render folder: jobs/ workflows/ outputs/ .comfytop/ are created in it",
                    super::shown(&root)
                );
                std::fs::create_dir_all(&root).map_err(|source| Trouble::Folder { path: root.clone(), source })?;
                Self::at(&root, args)
            }
        }
    }

    fn find(args: &PlaceArgs) -> Result<Found, Trouble> {
        if let Some(dir) = &args.dir {
            let path = std::path::absolute(dir).map_err(|source| Trouble::Folder { path: dir.clone(), source })?;
            let kept_elsewhere = args.state.as_ref().is_some_and(|state| state.join("store.db").is_file());
            let is_one = kept_elsewhere || path.join(CONFIG).is_file() || path.join(STATE).is_dir();
            return Ok(if is_one { Found::Here(path) } else { Found::New(path) });
        }
        let here = std::env::current_dir().map_err(|source| Trouble::Folder { path: ".".into(), source })?;
        Ok(folder::find(&here))
    }

    fn at(root: &Path, args: &PlaceArgs) -> Result<Self, Trouble> {
        let root = match root.canonicalize() {
            // It may not be there yet, and then has no settings.
            Err(error) if error.kind() == io::ErrorKind::NotFound => root.to_owned(),
            other => other.map_err(|source| Trouble::Folder { path: root.to_owned(), source })?,
        };
        let mut config = read(&root.join(CONFIG))?;
        let from_env = std::env::var("COMFYTOP_SERVER").ok().filter(|s| !s.trim().is_empty());
        let by_flag = args.server.clone().map(|named| ("--server", named));
        let named = by_flag.or(from_env.map(|named| ("COMFYTOP_SERVER", named)));
        let server = named.map(|(by, named)| address(&config, by, &named)).transpose()?;
        if let Some(named) = &server {
            // One of the config's servers by its name, else an address.
            let known = config.servers.iter().find(|s| s.name.as_ref() == Some(named)).cloned();
            let in_flight = config.servers.first().map(|s| s.in_flight);
            config.servers = vec![known.unwrap_or_else(|| {
                let at = ServerConfig::at(named);
                ServerConfig { in_flight: in_flight.unwrap_or(at.in_flight), ..at }
            })];
        }
        config.queue.preflight &= !args.no_preflight;
        Ok(Self { root, config, server, asked_state: args.state.clone(), no_preflight: args.no_preflight })
    }

    /// Where its files lie.
    pub fn folder(&self) -> Result<Folder, Trouble> {
        let inboxes: Vec<PathBuf> = self.config.inboxes.iter().map(|inbox| inbox.path.clone()).collect();
        let folder = Folder::with(&self.root, &inboxes, &self.config.outputs.path, self.asked_state.as_deref());
        folder.map_err(|source| Trouble::Folder { path: self.root.clone(), source })
    }

    /// What clips are judged by: the render folder's settings where there is one, else the usual.
    pub fn thresholds(args: &PlaceArgs) -> Result<Thresholds, Trouble> {
        match Self::find(args)? {
            Found::Here(root) => Ok(read(&root.join(CONFIG))?.verdict),
            Found::New(_) => Ok(Thresholds::default()),
        }
    }

    pub fn address(&self) -> Result<Address, Trouble> {
        Ok(Address::of(&self.root)?)
    }

    /// The first inbox, for people.
    pub fn inbox(&self) -> String {
        let named = self.config.inboxes.first().map_or(Path::new("jobs"), |i| i.path.as_path());
        super::shown(&self.root.join(named))
    }

    /// The engine's log.
    pub fn log(&self) -> PathBuf {
        self.asked_state.clone().unwrap_or_else(|| self.root.join(STATE)).join("engine.log")
    }
}

/// One of the config's servers by its name, or an address, `http://` added where it is left out.
/// `by`: who names it.
fn address(config: &Config, by: &str, named: &str) -> Result<String, Trouble> {
    if config.servers.iter().any(|s| s.name.as_deref() == Some(named)) {
        return Ok(named.to_owned());
    }
    let url = if named.contains("://") { named.to_owned() } else { format!("http://{named}") };
    match Client::new(&url, &std::collections::BTreeMap::new()) {
        Ok(_) => Ok(url),
        Err(error) => Err(Trouble::Usage(format!("{by}: {error}"))),
    }
}

/// Why nobody can say whether a folder is a render folder: it may not be looked into.
fn hidden(root: &Path) -> Option<io::Error> {
    let error = root.join(STATE).symlink_metadata().err()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(error)
}

fn read(path: &Path) -> Result<Config, Trouble> {
    match std::fs::read_to_string(path) {
        Ok(text) => Config::parse(&text, &super::shown(path)).map_err(Trouble::Config),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(source) => Err(Trouble::Folder { path: path.to_owned(), source }),
    }
}
