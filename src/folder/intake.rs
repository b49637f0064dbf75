//! Job files on their way: from the inbox to `queued/`, and from there to `done/` or `failed/`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Folder, HELD, named, no_replace};
use crate::faults;

/// How the jobs of a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All done: to `done/`, the text beside it as `.result.json`.
    Done,
    /// Some were not: to `failed/`, the text beside it as `.error.txt`.
    Failed,
}

impl Ending {
    /// The folder of an inbox that such files go to.
    fn folder(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// What the name of the text beside such a file has behind the file's own.
    fn suffix(self) -> &'static str {
        match self {
            Self::Done => ".result.json",
            Self::Failed => ".error.txt",
        }
    }
}

/// Where a finished file went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// `None` when the file was not in `queued/` any more; the store holds its text.
    pub file: Option<PathBuf>,
    pub sidecar: PathBuf,
}

/// The number in front of a file's name in `queued/`, `done/` or `failed/`, and the name it was dropped under:
/// `000049-clip.json` is 49 and `clip.json`.
#[must_use]
pub fn number_of(file_name: &OsStr) -> Option<(u64, &str)> {
    let (number, name) = file_name.to_str()?.split_once('-')?;
    let digits = number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit());
    (digits && !name.is_empty()).then(|| Some((number.parse().ok()?, name)))?
}

impl Folder {
    /// Which inbox a folder is; one that is none counts as the first.
    pub fn inbox_of(&self, dir: &Path) -> usize {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = real(dir);
        self.inboxes.iter().position(|inbox| real(inbox) == dir).unwrap_or_default()
    }

    /// Moves a dropped file to its inbox's `queued/000049-NAME`; `name` is what [`dropped_name`] makes of its own,
    /// without the number of an earlier round. `None`: it is not there any more, somebody else took it.
    ///
    /// # Errors
    /// `AlreadyExists` when that name is taken (another engine with the same number on a shared inbox).
    pub fn take(&self, file: &Path, number: u64, name: &str) -> io::Result<Option<PathBuf>> {
        let target = self.queued_path(Some(file), number, name);
        match faults::step("folder.take", || no_replace::rename(file, &target)) {
            Ok(()) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // either the file is gone, or queued/ is: only the first is no error
                match fs::symlink_metadata(file) {
                    Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(None),
                    _ => take_again(file, &target).map(Some),
                }
            }
            Err(error) => Err(named(&target, &error)),
        }
    }

    /// Where a taken file lies until its jobs have ended. `origin`: where it was dropped; `None` = a verb handed
    /// it in.
    pub fn queued_path(&self, origin: Option<&Path>, number: u64, name: &str) -> PathBuf {
        let inbox =
            origin.map(inbox_of).or_else(|| self.inboxes.first().cloned()).unwrap_or_else(|| self.root.join("jobs"));
        inbox.join("queued").join(format!("{number:06}-{name}"))
    }

    /// Where a file that lay at `queued` is put away.
    pub fn put_away_path(&self, queued: &Path, ending: Ending) -> PathBuf {
        put_away_dir(queued, ending).join(queued.file_name().unwrap_or_default())
    }

    /// Where the text beside it goes.
    pub fn sidecar_path(&self, queued: &Path, ending: Ending) -> PathBuf {
        let mut path = self.put_away_path(queued, ending).into_os_string();
        path.push(ending.suffix());
        path.into()
    }

    /// Puts the text of a job that a verb handed in where a taken file would lie.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn put_queued(&self, number: u64, name: &str, text: &str) -> io::Result<()> {
        let path = self.queued_path(None, number, name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| named(dir, &error))?;
        }
        self.write_new(&path, text.as_bytes()).map_err(|error| named(&path, &error))
    }

    /// Moves a file on from `queued/` and writes the text beside it. A file that is not there any more is no error.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn finish(&self, queued: &Path, ending: Ending, sidecar_text: &str) -> io::Result<Finished> {
        let name = queued.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
        let dir = put_away_dir(queued, ending);
        fs::create_dir_all(&dir).map_err(|error| named(&dir, &error))?;
        let sidecar = self.write_sidecar(queued, ending, sidecar_text)?;
        if ending == Ending::Done {
            // What was wrong with it in an earlier round is mended.
            let stale = self.sidecar_path(queued, Ending::Failed);
            let _ = faults::step("folder.finish.stale", || fs::remove_file(stale));
        }
        let target = dir.join(name);
        let file = match faults::step("folder.finish", || no_replace::rename(queued, &target)) {
            Ok(()) => Some(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(beside(queued, &target)?),
            Err(error) => return Err(named(&target, &error)),
        };
        Ok(Finished { file, sidecar })
    }

    /// Writes the text beside a file that was put away anew, where it still is.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn tell_again(&self, queued: &Path, ending: Ending, sidecar_text: &str) -> io::Result<()> {
        let there = self.sidecar_path(queued, ending).exists();
        if there { self.write_sidecar(queued, ending, sidecar_text).map(|_| ()) } else { Ok(()) }
    }

    /// Whole or not at all, and over the one of an earlier round: it is ours, numbered.
    fn write_sidecar(&self, queued: &Path, ending: Ending, text: &str) -> io::Result<PathBuf> {
        let sidecar = self.sidecar_path(queued, ending);
        let draft = self.hidden(&put_away_dir(queued, ending), "text");
        faults::step("folder.sidecar.write", || fs::write(&draft.path, text))
            .map_err(|error| named(&sidecar, &error))?;
        faults::step("folder.sidecar.rename", || fs::rename(&draft.path, &sidecar))
            .map_err(|error| named(&sidecar, &error))?;
        draft.moved();
        Ok(sidecar)
    }

    /// Moves a file that was put away back to `queued/`, since one of its jobs is to run again, and removes what was
    /// said of its last round. One that is nowhere is no error: the store holds its text.
    ///
    /// # Errors
    /// When the folders cannot be written to.
    pub fn reopen(&self, queued: &Path) -> io::Result<()> {
        if queued.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file name"));
        }
        for ending in [Ending::Done, Ending::Failed] {
            let put_away = self.put_away_path(queued, ending);
            match faults::step("folder.reopen", || no_replace::rename(&put_away, queued)) {
                Ok(()) => {}
                // It lies in `queued/` already, or was taken away by hand.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
                Err(error) => return Err(named(&put_away, &error)),
            }
            let stale = self.sidecar_path(queued, ending);
            let _ = faults::step("folder.reopen.stale", || fs::remove_file(stale));
        }
        Ok(())
    }

    /// Moves a file whose jobs have ended out of `queued/`, where it has come again. Its text is there already.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn put_back(&self, queued: &Path, ending: Ending) -> io::Result<()> {
        let name = queued.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
        let dir = inbox_of(queued).join(match ending {
            Ending::Done => "done",
            Ending::Failed => "failed",
        });
        fs::create_dir_all(&dir).map_err(|error| named(&dir, &error))?;
        let target = dir.join(name);
        match faults::step("folder.put_back", || no_replace::rename(queued, &target)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => beside(queued, &target).map(|_| ()),
            Err(error) => Err(named(&target, &error)),
        }
    }

    /// Every file in the inboxes' `queued/` that carries a number, for reconciling after a crash.
    ///
    /// # Errors
    /// When a folder that exists cannot be read.
    pub fn queued_files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for inbox in &self.inboxes {
            let dir = inbox.join("queued");
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(named(&dir, &error)),
            };
            for entry in entries {
                let entry = entry?;
                if let Some((number, _)) = number_of(&entry.file_name()) {
                    files.push((number, entry.path()));
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// The name that a dropped file is known by: fit to carry a number in front and what we put beside it behind
/// (255 bytes are the most that file systems take), and to be written in the store.
#[must_use]
pub fn dropped_name(file_name: &OsStr) -> String {
    /// `000049-` (room for longer numbers) and `.result.json`.
    const MOST: usize = 255 - 21 - 12;
    let name = file_name.to_string_lossy();
    if name.len() <= MOST {
        return name.into_owned();
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    let room = MOST.saturating_sub(ending.len() + 1);
    if room == 0 || ending.is_empty() {
        return cut(&name, MOST).to_owned();
    }
    format!("{}.{ending}", cut(stem, room))
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default().trim_end()
}

/// Puts a file away where one of its name lies already: one copied back instead of moved, or one put away just
/// before a crash. The same bytes are not kept twice, others get a name of their own.
fn beside(queued: &Path, target: &Path) -> io::Result<PathBuf> {
    let same = |other: &Path| Ok::<_, io::Error>(fs::read(queued)? == fs::read(other)?);
    if same(target).map_err(|error| named(target, &error))? {
        faults::step("folder.finish.twin", || fs::remove_file(queued)).map_err(|error| named(queued, &error))?;
        return Ok(target.to_owned());
    }
    let stem = target.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = target.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    for count in 2..1000 {
        let other = target.with_file_name(format!("{stem}-{count}{ending}"));
        match faults::step("folder.finish.beside", || no_replace::rename(queued, &other)) {
            Ok(()) => return Ok(other),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(named(&other, &error)),
        }
    }
    Err(named(target, &io::Error::from(io::ErrorKind::AlreadyExists)))
}

/// The same, after making the folder that somebody removed.
fn take_again(file: &Path, target: &Path) -> io::Result<PathBuf> {
    if let Some(queued) = target.parent() {
        fs::create_dir_all(queued).map_err(|error| named(queued, &error))?;
    }
    faults::step("folder.take.again", || no_replace::rename(file, target)).map_err(|error| named(target, &error))?;
    Ok(target.to_owned())
}

fn put_away_dir(queued: &Path, ending: Ending) -> PathBuf {
    inbox_of(queued).join(ending.folder())
}

/// The inbox that a file lies in: its folder, or the one above for files in a folder of ours.
pub(super) fn inbox_of(file: &Path) -> PathBuf {
    let dir = file.parent().unwrap_or(Path::new(""));
    let own = dir.file_name().is_some_and(|name| name == HELD || name == "queued");
    match dir.parent() {
        Some(inbox) if own => inbox.to_owned(),
        _ => dir.to_owned(),
    }
}

/// Neither called like a picture nor begun like one, but text.
pub fn is_text(path: &Path) -> bool {
    const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif"];
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if PICTURES.iter().any(|picture| ending.eq_ignore_ascii_case(picture)) {
        return false;
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    let words = match std::str::from_utf8(&start) {
        Ok(words) => words,
        // Cut within a letter.
        Err(error) if error.error_len().is_none() => "",
        Err(_) => return false,
    };
    read.is_ok() && !words.is_empty() && words.chars().all(|c| !c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn a_taken_file_carries_its_number() {
        let (dir, folder) = folder();
        let drop = dir.path().join("jobs/held/clip.json");
        fs::write(&drop, "{}").expect("written");
        let queued = folder.take(&drop, 49, "clip.json").expect("taken").expect("there");
        assert_eq!(queued, dir.path().join("jobs/queued/000049-clip.json"));
        assert!(!drop.exists() && queued.is_file());
        assert_eq!(folder.queued_files().expect("listed"), [(49, queued)]);
    }

    #[test]
    fn the_slower_of_two_engines_gets_nothing() {
        let (dir, folder) = folder();
        assert_eq!(folder.take(&dir.path().join("jobs/gone.json"), 1, "gone.json").expect("no error"), None);
    }

    #[test]
    fn taking_replaces_nothing_and_mends_a_missing_folder() {
        let (dir, folder) = folder();
        let drop = dir.path().join("jobs/a.json");
        fs::write(&drop, "new").expect("written");
        let taken = dir.path().join("jobs/queued/000001-a.json");
        fs::write(&taken, "old").expect("written");
        assert_eq!(folder.take(&drop, 1, "a.json").expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&taken).expect("there"), "old");
        fs::remove_dir_all(dir.path().join("jobs/queued")).expect("removed");
        assert_eq!(folder.take(&drop, 1, "a.json").expect("taken"), Some(taken));
    }

    #[test]
    fn a_finished_file_moves_on_with_its_text() {
        let (dir, folder) = folder();
        for (number, ending, at, beside) in [
            (1, Ending::Done, "jobs/done/000001-a.json", "jobs/done/000001-a.json.result.json"),
            (2, Ending::Failed, "jobs/failed/000002-a.json", "jobs/failed/000002-a.json.error.txt"),
        ] {
            let drop = dir.path().join("jobs/a.json");
            fs::write(&drop, "{}").expect("written");
            let queued = folder.take(&drop, number, "a.json").expect("taken").expect("there");
            let finished = folder.finish(&queued, ending, "words").expect("finished");
            assert_eq!(finished, Finished { file: Some(dir.path().join(at)), sidecar: dir.path().join(beside) });
            assert_eq!(fs::read_to_string(&finished.sidecar).expect("there"), "words");
            // again, as after a crash in between
            assert_eq!(folder.finish(&queued, ending, "more").expect("finished").file, None);
            assert_eq!(fs::read_to_string(&finished.sidecar).expect("there"), "more");
            assert!(dir.path().join(at).is_file());
            folder.tell_again(&queued, ending, "the last").expect("written");
            assert_eq!(fs::read_to_string(&finished.sidecar).expect("there"), "the last");
            fs::remove_file(&finished.sidecar).expect("removed");
            folder.tell_again(&queued, ending, "gone").expect("it was taken away");
            assert!(!finished.sidecar.exists());
        }
        assert!(folder.queued_files().expect("listed").is_empty());
    }

    #[test]
    fn a_file_put_away_is_opened_again_and_what_was_said_of_it_goes() {
        let (dir, folder) = folder();
        let queued = dir.path().join("jobs/queued/000001-a.json");
        for (ending, beside) in
            [(Ending::Failed, "failed/000001-a.json.error.txt"), (Ending::Done, "done/000001-a.json.result.json")]
        {
            fs::write(&queued, "{}").expect("written");
            folder.finish(&queued, ending, "words").expect("finished");
            assert!(!queued.exists());
            folder.reopen(&queued).expect("opened");
            assert!(queued.is_file() && !dir.path().join("jobs").join(beside).exists());
            folder.reopen(&queued).expect("again, as after a crash");
            fs::remove_file(&queued).expect("removed");
            folder.reopen(&queued).expect("it is nowhere");
        }
    }

    #[test]
    fn one_put_away_where_its_name_is_taken_replaces_nothing_and_stays_nowhere() {
        let (dir, folder) = folder();
        let queued = dir.path().join("jobs/queued/000001-a.json");
        let done = dir.path().join("jobs/failed");
        fs::write(done.join("000001-a.json"), "one").expect("written");
        for (text, lies_at) in [("one", "000001-a.json"), ("two", "000001-a-2.json"), ("three", "000001-a-3.json")] {
            fs::write(&queued, text).expect("written");
            let finished = folder.finish(&queued, Ending::Failed, "words").expect("finished");
            assert_eq!(finished.file, Some(done.join(lies_at)));
            assert_eq!(fs::read_to_string(done.join(lies_at)).expect("there"), text);
            assert!(!queued.exists());
        }
        fs::write(&queued, "one").expect("written");
        folder.put_back(&queued, Ending::Done).expect("moved");
        folder.put_back(&queued, Ending::Done).expect("nothing to move");
        assert!(dir.path().join("jobs/done/000001-a.json").is_file());
    }

    #[test]
    fn the_longest_names_that_can_be_dropped_can_be_put_away() {
        let (dir, folder) = folder();
        for (number, stem, ending) in [(1, "漢".repeat(83), ".json"), (2, "x".repeat(250), ".json")] {
            let long = format!("{stem}{ending}");
            let drop = dir.path().join("jobs").join(&long);
            fs::write(&drop, "{}").expect("a name of the greatest length");
            let name = dropped_name(OsStr::new(&long));
            assert!(name.strip_suffix(ending).is_some_and(|short| stem.starts_with(short)), "{name}");
            let queued = folder.take(&drop, number, &name).expect("taken").expect("there");
            assert_eq!(queued, folder.queued_path(Some(&drop), number, &name));
            folder.finish(&queued, Ending::Failed, "words").expect("put away");
        }
        assert_eq!(dropped_name(OsStr::new("漢字.json")), "漢字.json");
        assert!(dropped_name(OsStr::new(&format!("a.{}", "x".repeat(250)))).len() < 230);
    }

    #[test]
    fn only_our_numbers_are_numbers() {
        assert_eq!(number_of(OsStr::new("000049-clip-2.json")), Some((49, "clip-2.json")));
        assert_eq!(number_of(OsStr::new("1234567-a")), Some((1_234_567, "a")));
        for other in ["49-a", "00004a-b", "000049-", "000049", "-a", "99999999999999999999999-a"] {
            assert_eq!(number_of(OsStr::new(other)), None, "{other}");
        }
    }
}
