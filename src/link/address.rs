//! Where the socket of a render folder is.

use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::Name;
use sha2::{Digest, Sha256};

use super::LinkError;

/// The longest path that a socket's address holds on every Unix, bytes (104 on macOS, with the end).
#[cfg(unix)]
const LONGEST: usize = 103;

/// The socket of one render folder on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    place: PathBuf,
}

impl Address {
    /// The address for a render folder, which must exist. Makes the folder that the socket lies in.
    ///
    /// # Errors
    /// When that folder can't be made, or is somebody else's.
    pub fn of(folder: &Path) -> Result<Self, LinkError> {
        let folder = folder.canonicalize().map_err(LinkError::Socket)?;
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let hash = crate::text::hex(&hash[..8]);
        place(&hash).map(|place| Self { place })
    }

    /// The socket's file (on Windows: the pipe's name).
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// The name as the socket library wants it.
    ///
    /// # Errors
    /// When the path can't be a socket's.
    #[cfg(unix)]
    pub fn name(&self) -> io::Result<Name<'_>> {
        use interprocess::local_socket::{GenericFilePath, ToFsName as _};
        self.place.as_path().to_fs_name::<GenericFilePath>()
    }

    /// The name as the pipe library wants it.
    ///
    /// # Errors
    /// When it can't be a pipe's.
    #[cfg(not(unix))]
    pub fn name(&self) -> io::Result<Name<'_>> {
        use interprocess::local_socket::{GenericNamespaced, ToNsName as _};
        self.place.as_os_str().to_ns_name::<GenericNamespaced>()
    }
}

#[cfg(unix)]
fn place(hash: &str) -> Result<PathBuf, LinkError> {
    // A host name, so that a home folder on a share does not mix machines up.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(24).collect();
    let file = format!("{host}-{hash}.sock");
    if let Some(state) = state_home() {
        let folder = state.join("comfytop");
        if folder.join(&file).as_os_str().len() <= LONGEST {
            own(&folder)?;
            return Ok(folder.join(file));
        }
    }
    let folder = std::env::temp_dir().join(format!("comfytop-{}", rustix::process::getuid().as_raw()));
    own(&folder)?;
    Ok(folder.join(file))
}

#[cfg(not(unix))]
fn place(hash: &str) -> Result<PathBuf, LinkError> {
    Ok(PathBuf::from(format!("comfytop-{hash}")))
}

/// Not the runtime folder: that one goes at the last logout, and the engine stays.
#[cfg(unix)]
fn state_home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

/// Makes the folder, for its owner alone; one that others could write to, or own, is refused.
#[cfg(unix)]
fn own(folder: &Path) -> Result<(), LinkError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    let refuse = |why: String| LinkError::Folder { path: folder.to_owned(), why };
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(|e| refuse(format!("can't be made: {e}")))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(refuse(format!("can't be made: {e}"))),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(folder).map_err(|e| refuse(format!("can't be read: {e}")))?;
    if !meta.is_dir() || meta.uid() != rustix::process::getuid().as_raw() {
        return Err(refuse("is not a folder of yours".to_owned()));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| refuse(format!("is open to others, and can't be closed: {e}")))?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn two_folders_have_two_sockets_and_one_has_one() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let address = Address::of(a.path()).unwrap();
        assert_eq!(address, Address::of(&a.path().join(".")).unwrap());
        assert_ne!(address, Address::of(b.path()).unwrap());
        assert!(address.path().as_os_str().len() <= LONGEST);
    }

    #[test]
    fn a_folder_that_others_could_write_to_is_closed_and_a_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        own(&open).unwrap();
        assert_eq!(std::fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o700);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(own(&file).is_err());
    }
}
