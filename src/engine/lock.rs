//! One engine per render folder: a lock that dies with its process, and a note of who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::folder::Folder;
use crate::link::{Address, VERSION};

/// Kept while the engine runs.
pub struct Lock {
    /// One beside the store, and one beside the socket: with `--state` two engines of one render
    /// folder would have two stores.
    _files: Vec<File>,
}

/// An engine that is just ending lets go within this time.
const PATIENCE: Duration = Duration::from_millis(1500);

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
pub fn take(folder: &Folder, address: &Address) -> Result<Lock, EngineError> {
    let note = folder.state.join("engine.json");
    let mut places = vec![folder.state.join("engine.lock")];
    if cfg!(unix) {
        places.push(address.path().with_extension("lock"));
    }
    let until = Instant::now() + PATIENCE;
    let mut files = Vec::new();
    for path in places {
        let failed = |source| EngineError::Lock { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(EngineError::Served { folder: folder.root.clone(), holder: holder(&note) });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        files.push(file);
    }
    let holder = Holder { host: host(), pid: std::process::id(), version: VERSION.to_owned() };
    let text = serde_json::to_vec(&holder).unwrap_or_default();
    std::fs::write(&note, text).map_err(|source| EngineError::Lock { path: note.clone(), source })?;
    Ok(Lock { _files: files })
}

/// Removes the lock beside the socket, of a render folder that is gone for good.
pub fn forget(address: &Address) {
    let _ = std::fs::remove_file(address.path().with_extension("lock"));
}

fn holder(note: &Path) -> String {
    let holder = std::fs::read(note).ok().and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
    holder.map_or_else(
        || "it does not say which".to_owned(),
        |h| format!("comfytop {} on {}, pid {}", h.version, h.host, h.pid),
    )
}
