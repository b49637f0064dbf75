//! One engine per render folder: a lock that dies with its process, and a note of who holds it.

use std::fs::{File, OpenOptions, TryLockError};

use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::folder::Folder;
use crate::link::VERSION;

/// Kept while the engine runs.
pub struct Lock {
    _file: File,
}

/// Who holds the lock. In a file of its own: on Windows a locked file can't be read.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    version: String,
}

fn host() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return std::env::var("COMPUTERNAME").unwrap_or_default();
}

/// Takes the lock, or says who has it.
pub fn take(folder: &Folder) -> Result<Lock, EngineError> {
    let path = folder.state.join("engine.lock");
    let note = folder.state.join("engine.json");
    let failed = |source| EngineError::Lock { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
            let holder = holder.map_or_else(
                || "it does not say which".to_owned(),
                |h| format!("comfytop {} on {}, pid {}", h.version, h.host, h.pid),
            );
            return Err(EngineError::Served { folder: folder.root.clone(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let holder = Holder { host: host(), pid: std::process::id(), version: VERSION.to_owned() };
    let text = serde_json::to_vec(&holder).unwrap_or_default();
    std::fs::write(&note, text).map_err(failed)?;
    Ok(Lock { _file: file })
}
