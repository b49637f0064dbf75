//! Keeping the files that jobs name, so that later changes do not reach a job that waits.
//!
//! Kept as copies named by their hash, not as hard links: a hard link shares its bytes with the original,
//! and an editor or script that writes in place would change the input of every waiting job.
//! `std::fs::copy` clones instead of copying where the disk can (btrfs, XFS, APFS), so a copy is cheap there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Folder, name, named, no_replace};
use crate::faults;

/// A kept file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInput {
    /// SHA-256 in hexadecimal.
    pub hash: String,
    pub stored: PathBuf,
    pub bytes: u64,
    /// What the file was called, made safe: the name to upload it under.
    pub name: String,
}

impl Folder {
    /// Copies a file to `.comfytop/inputs/HASH.ext`; the same bytes are kept once.
    ///
    /// # Errors
    /// `NotFound` when it is not there (yet); `InvalidInput` for anything but a plain file (a folder, a pipe).
    pub fn keep_input(&self, path: &Path) -> io::Result<KeptInput> {
        let meta = fs::metadata(path).map_err(|error| named(path, &error))?;
        if !meta.is_file() {
            // opening a pipe would wait for its writer
            return Err(named(path, &io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
        }
        let original = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.keep(&original, Content::Of(path))
    }

    /// Keeps a file once more whose copy at `stored` was cleaned away; false where it can't be read, or has other bytes.
    pub fn keep_again(&self, path: &Path, stored: &Path) -> bool {
        let stem = stored.file_stem().unwrap_or_default().to_string_lossy();
        let is_same = hash(path).is_ok_and(|hash| hash == stem);
        is_same && self.keep_input(path).is_ok() && stored.is_file()
    }

    /// The same for bytes that were made here, with the name that a file of them would have.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn keep_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<KeptInput> {
        self.keep(name, Content::Bytes(bytes))
    }

    fn keep(&self, original: &str, content: Content<'_>) -> io::Result<KeptInput> {
        let inputs = self.inputs();
        fs::create_dir_all(&inputs).map_err(|error| named(&inputs, &error))?;
        let copy = self.hidden(&inputs, "copy");
        let bytes = faults::step("folder.input.copy", || match content {
            Content::Of(path) => fs::copy(path, &copy.path).map_err(|error| named(path, &error)),
            Content::Bytes(bytes) => {
                fs::write(&copy.path, bytes).map(|()| bytes.len() as u64).map_err(|error| named(&copy.path, &error))
            }
        })?;
        // the copy is hashed, not the original: what was hashed is what is kept
        let hash = hash(&copy.path).map_err(|error| named(&copy.path, &error))?;
        let ending = name::safe_ending(original);
        let stored = inputs.join(format!("{hash}{ending}"));
        match faults::step("folder.input.rename", || no_replace::rename(&copy.path, &stored)) {
            Ok(()) => copy.moved(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(named(&stored, &error)),
        }
        let stem = original.rsplit_once('.').map_or(original, |(stem, _)| stem);
        Ok(KeptInput { hash, stored, bytes, name: format!("{}{ending}", name::safe_stem(stem)) })
    }
}

/// What is kept.
#[derive(Clone, Copy)]
enum Content<'c> {
    Of(&'c Path),
    Bytes(&'c [u8]),
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn later_changes_do_not_reach_a_kept_file() {
        let (dir, folder) = folder();
        let original = dir.path().join("start image.PNG");
        fs::write(&original, b"one").expect("written");
        let kept = folder.keep_input(&original).expect("kept");
        assert_eq!(kept.hash, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
        assert_eq!(kept.stored, folder.inputs().join(format!("{}.png", kept.hash)));
        assert_eq!((kept.bytes, kept.name.as_str()), (3, "start image.png"));
        // in place, as a script does
        io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(&original).expect("open"), b"two")
            .expect("written");
        assert_eq!(fs::read(&kept.stored).expect("there"), b"one");
        let other = folder.keep_input(&original).expect("kept");
        assert_ne!(other.hash, kept.hash);
    }

    #[test]
    fn the_same_bytes_are_kept_once() {
        let (dir, folder) = folder();
        for name in ["a.png", "b.png"] {
            fs::write(dir.path().join(name), b"same").expect("written");
        }
        let (a, b) = (folder.keep_input(&dir.path().join("a.png")), folder.keep_input(&dir.path().join("b.png")));
        assert_eq!(a.expect("kept").stored, b.expect("kept").stored);
        assert_eq!(fs::read_dir(folder.inputs()).expect("there").count(), 1, "no copy is left over");
    }

    #[test]
    fn bytes_that_were_made_here_are_kept_like_a_file() {
        let (_dir, folder) = folder();
        let kept = folder.keep_bytes("clip.png", b"one").expect("kept");
        assert_eq!(kept.hash, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
        assert_eq!((fs::read(&kept.stored).expect("there"), kept.name.as_str()), (b"one".to_vec(), "clip.png"));
    }

    #[test]
    fn what_is_not_there_or_no_file_says_so() {
        let (dir, folder) = folder();
        assert_eq!(folder.keep_input(&dir.path().join("none.png")).expect_err("none").kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.keep_input(dir.path()).expect_err("a folder").kind(), io::ErrorKind::InvalidInput);
    }
}
