//! Which pictures are on the screen, and what is still missing for them.
//!
//! Pure. Nothing is asked for that is not shown. New pictures wait (`held`) where the line to the terminal bears no
//! more at the moment; those before them stay until then, and what came in between is never shown.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ratatui::layout::Rect;

use super::app::Command;
use super::raster::{self, Raster};
use crate::job::JobId;
use crate::protocol::{Album, JobRow, Pictures, Ranked, Request, Still};

/// The cursor rests this long before pictures are made.
pub(super) const RESTS: Duration = Duration::from_millis(150);

/// What `i` goes through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    #[default]
    Off,
    Ends,
    Difference,
    Strip,
    Live,
}

impl View {
    const AFTER_OFF: [Self; 4] = [Self::Ends, Self::Difference, Self::Strip, Self::Live];

    fn album(self) -> Option<Pictures> {
        match self {
            Self::Ends | Self::Difference => Some(Pictures::Ends),
            Self::Strip => Some(Pictures::Strip),
            Self::Off | Self::Live => None,
        }
    }
}

/// What pictures there may be of: the selected job or attempt, and the job that renders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub job: JobId,
    /// None: the one that the job shows.
    pub attempt: Option<u32>,
    /// Another render of it has other pictures.
    pub output: Option<String>,
    /// Frames of the output, where that is known.
    pub frames: Option<u64>,
    /// The job whose previews there are: itself, or whichever renders; none of an attempt that has ended.
    pub running: Option<JobId>,
}

impl Subject {
    pub fn of(row: &JobRow, running: Option<JobId>) -> Self {
        let itself = matches!(row.state, crate::job::JobState::Running).then_some(row.id);
        Self {
            job: row.id,
            attempt: None,
            output: row.outputs.first().map(|output| output.path.clone()),
            frames: row.measured.as_ref().map(|known| known.frames).filter(|frames| *frames > 0),
            running: itself.or(running),
        }
    }

    /// An attempt that is ranked has ended: what renders now is another, and no picture of it.
    pub fn of_attempt(row: &Ranked) -> Self {
        Self {
            job: row.job,
            attempt: Some(row.attempt),
            output: row.outputs.first().map(|output| output.path.clone()),
            frames: row.measurement.as_ref().map(|known| known.frames).filter(|frames| *frames > 0),
            running: None,
        }
    }

    fn key(&self) -> (JobId, Option<u32>) {
        (self.job, self.attempt)
    }
}

/// One picture and what stands over it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub label: String,
    pub raster: Arc<Raster>,
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && Arc::ptr_eq(&self.raster, &other.raster)
    }
}

/// What should stand on the screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exhibit {
    pub pictures: Vec<Shown>,
    /// In their place.
    pub words: Option<String>,
}

/// A clip that is being played.
#[derive(Debug, Clone, Copy)]
struct Play {
    since: Timestamp,
    /// Pictures since then.
    at: usize,
}

/// Pictures a second where the clip does not tell.
const USUAL_RATE: f64 = 16.0;

#[derive(Debug, Default)]
pub struct Gallery {
    view: View,
    subject: Option<Subject>,
    /// Nothing is asked for before.
    rests: Option<Timestamp>,
    /// What was asked for; `None`: not answered yet.
    albums: BTreeMap<Pictures, Option<Result<Album, String>>>,
    /// Read, being read (`None`), or why not.
    rasters: HashMap<PathBuf, Option<Result<Arc<Raster>, String>>>,
    /// The newest preview.
    live: Option<(JobId, Still)>,
    /// The engine sends previews.
    previews: bool,
    play: Option<Play>,
    /// What is on the screen, and of whom.
    pub(super) exhibit: Exhibit,
    /// The picture that hung last: others will be of its shape.
    like: Option<Arc<Raster>>,
    of: Option<((JobId, Option<u32>), View)>,
    /// New pictures must wait.
    held: bool,
    /// They do wait.
    waits: bool,
}

impl Gallery {
    pub fn is_open(&self) -> bool {
        self.view != View::Off
    }

    /// Another job is selected, or it has changed.
    pub fn turn_to(&mut self, subject: Option<Subject>, now: Timestamp) {
        if self.subject == subject {
            return;
        }
        let key = |subject: &Option<Subject>| subject.as_ref().map(|s| (s.key(), s.output.clone()));
        if key(&self.subject) != key(&subject) {
            self.albums.clear();
            self.rasters.clear();
            self.play = None;
            self.rests = now.checked_add(RESTS).ok();
        }
        self.subject = subject;
    }

    /// The engine that was asked is gone; another knows nothing of it.
    pub fn forget_asked(&mut self) {
        self.albums.retain(|_, album| album.is_some());
        self.previews = false;
    }

    fn exists(&self, view: View) -> bool {
        let Some(subject) = &self.subject else { return view == View::Off };
        let ends = self.albums.get(&Pictures::Ends).and_then(|album| album.as_ref()?.as_ref().ok());
        let alone = ends.is_some_and(|album| album.stills.len() < 2) || subject.frames == Some(1);
        match view {
            View::Off => true,
            View::Ends => subject.output.is_some(),
            View::Difference | View::Strip => subject.output.is_some() && !alone,
            View::Live => subject.running.is_some(),
        }
    }

    /// Goes to the next of what there is; false where there is nothing but off.
    pub fn next(&mut self) -> bool {
        let mut later = View::AFTER_OFF.into_iter().filter(|view| *view > self.view);
        let next = later.find(|view| self.exists(*view)).unwrap_or_default();
        let is_any = self.is_open() || next != View::Off;
        self.view = next;
        self.play = None;
        is_any
    }

    /// Begins to play the clip in the place of its pictures, or stops; false where there is none.
    pub fn toggle_play(&mut self, now: Timestamp) -> bool {
        if self.play.take().is_some() {
            self.of = None;
            // They are many, and quickly read again.
            if let Some(Some(Ok(album))) = self.albums.remove(&Pictures::Play) {
                self.rasters.retain(|path, _| !album.stills.iter().any(|still| still.path == *path));
            }
            return true;
        }
        if !self.exists(View::Strip) {
            return false;
        }
        if matches!(self.view, View::Off | View::Live) {
            self.view = View::Ends;
        }
        self.play = Some(Play { since: now, at: 0 });
        true
    }

    pub fn plays(&self) -> bool {
        self.play.is_some()
    }

    pub fn can_play(&self) -> bool {
        self.plays() || self.exists(View::Strip)
    }

    /// Pictures a second that are played.
    fn rate(&self) -> f64 {
        let Some(Some(Ok(album))) = self.albums.get(&Pictures::Play) else { return USUAL_RATE };
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let share = album.stills.len() as f64 / (album.frames.max(1)) as f64;
        (album.fps.unwrap_or(USUAL_RATE) * share).clamp(1.0, 30.0)
    }

    /// What is played comes on to the picture of this moment; those in between are skipped. True where it is another.
    pub fn step(&mut self, now: Timestamp) -> bool {
        let rate = self.rate();
        let Some(play) = &mut self.play else { return false };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and of hours at most")]
        let at = (now.duration_since(play.since).as_secs_f64().max(0.0) * rate) as usize;
        std::mem::replace(&mut play.at, at) != at
    }

    /// When the next picture of what is played is due.
    pub fn next_step(&self) -> Option<Timestamp> {
        let play = self.play?;
        #[expect(clippy::cast_precision_loss, reason = "a count of pictures")]
        let after = Duration::try_from_secs_f64((play.at + 1) as f64 / self.rate()).ok()?;
        play.since.checked_add(after).ok()
    }

    /// The pictures that are made for what is shown.
    fn source(&self) -> Option<Pictures> {
        if self.plays() { Some(Pictures::Play) } else { self.shown_view().album() }
    }

    /// Something could be shown.
    pub fn has_any(&self) -> bool {
        self.is_open() || View::AFTER_OFF.into_iter().any(|view| self.exists(view))
    }

    /// What is shown of the selected job: another view than was wanted where that one does not exist.
    fn shown_view(&self) -> View {
        if self.exists(self.view) {
            return self.view;
        }
        let own = self.subject.as_ref().is_some_and(|s| s.running == Some(s.job));
        let is_attempt = self.subject.as_ref().is_some_and(|s| s.attempt.is_some());
        match self.view {
            View::Difference | View::Strip if self.exists(View::Ends) => View::Ends,
            View::Live if is_attempt && self.exists(View::Ends) => View::Ends,
            View::Ends | View::Difference | View::Strip if own => View::Live,
            _ => View::Off,
        }
    }

    pub fn album_came(&mut self, of: (JobId, Option<u32>), what: Pictures, album: Result<Album, String>) {
        if self.subject.as_ref().is_some_and(|subject| subject.key() == of) {
            self.albums.insert(what, Some(album));
        }
    }

    pub fn preview_came(&mut self, job: JobId, still: Still) {
        self.live = Some((job, still));
    }

    pub fn raster_came(&mut self, path: &Path, raster: Result<Raster, String>) {
        // What nobody waits for any more is let go.
        if let Some(slot) = self.rasters.get_mut(path) {
            *slot = Some(raster.map(Arc::new));
        }
    }

    /// The stills that the view is made of.
    fn stills(&self, view: View) -> Vec<&Still> {
        if view == View::Live && !self.plays() {
            let running = self.subject.as_ref().and_then(|subject| subject.running);
            return self.live.iter().filter(|(job, _)| Some(*job) == running).map(|(_, still)| still).collect();
        }
        let album = self.source().and_then(|what| self.albums.get(&what)?.as_ref()?.as_ref().ok());
        let stills = album.map(|album| album.stills.as_slice()).unwrap_or_default();
        let is_wanted = |still: &&Still| match view {
            _ if self.plays() => true,
            View::Ends => still.name != "difference",
            View::Difference => still.name == "difference",
            _ => true,
        };
        stills.iter().filter(is_wanted).collect()
    }

    /// What is missing next. `may_ask`: the engine is there; `has_room`: they are shown. Where they are not, nothing is
    /// asked but that no more previews be sent.
    pub fn want(&mut self, now: Timestamp, may_ask: bool, has_room: bool) -> Option<Command> {
        let view = self.shown_view();
        let live = has_room && view == View::Live;
        if may_ask && self.previews != live {
            self.previews = live;
            return Some(Command::Ask(Request::Previews { on: live }));
        }
        let subject = self.subject.as_ref().filter(|_| has_room)?;
        if let Some(what) = self.source().filter(|what| !self.albums.contains_key(what)) {
            if !may_ask || self.rests.is_some_and(|until| now < until) {
                return None;
            }
            let (job, attempt) = subject.key();
            self.rests = None;
            self.albums.insert(what, None);
            return Some(Command::Ask(Request::Pictures { job, attempt, what }));
        }
        // One preview is read at a time; the newest is next.
        if live && self.rasters.values().any(Option::is_none) {
            return None;
        }
        let missing = self.stills(view).into_iter().find(|still| !self.rasters.contains_key(&still.path));
        let path = missing?.path.clone();
        self.rasters.insert(path.clone(), None);
        Some(Command::Load(path))
    }

    /// When something is to be asked for by the clock alone.
    pub fn due(&self) -> Option<Timestamp> {
        let what = self.source().filter(|_| self.is_open())?;
        self.rests.filter(|_| !self.albums.contains_key(&what))
    }

    /// What should stand on the screen now; `None`: not all of it is there yet.
    fn wanted(&mut self) -> Option<Exhibit> {
        let view = self.shown_view();
        let words = |words: &str| Some(Exhibit { pictures: Vec::new(), words: Some(words.to_owned()) });
        let Some(subject) = self.subject.clone() else { return words("no job") };
        match view {
            View::Off if subject.output.is_none() => return words("no output yet"),
            View::Off => return words("nothing to see here"),
            _ => {}
        }
        if let Some(what) = self.source() {
            match self.albums.get(&what) {
                None | Some(None) => return None,
                Some(Some(Err(why))) => return words(why),
                Some(Some(Ok(_))) => {}
            }
        }
        let stills: Vec<Still> = self.stills(view).into_iter().cloned().collect();
        if stills.is_empty() {
            return words(if view == View::Live {
                "no preview yet (the server sends some with --preview-method auto)"
            } else {
                "there is none"
            });
        }
        if let Some(play) = self.play {
            return self.played(&stills, play.at);
        }
        let mut pictures = Vec::new();
        for still in &stills {
            match self.rasters.get(&still.path) {
                Some(Some(Ok(raster))) => {
                    let label = match view {
                        View::Live => format!("live {}", subject.running.unwrap_or(subject.job)),
                        _ => still.name.clone(),
                    };
                    pictures.push(Shown { label, raster: Arc::clone(raster) });
                }
                Some(Some(Err(why))) => return words(why),
                _ => return None,
            }
        }
        if view == View::Live {
            // The one before is on the screen no more.
            self.rasters.retain(|path, _| *path == stills[0].path);
        }
        Some(Exhibit { pictures, words: None })
    }

    /// The picture that is played now, of those that are there by now.
    fn played(&self, stills: &[Still], at: usize) -> Option<Exhibit> {
        let loaded = stills.iter().map_while(|still| match self.rasters.get(&still.path) {
            Some(Some(Ok(raster))) => Some((still, raster)),
            _ => None,
        });
        let loaded: Vec<_> = loaded.collect();
        let (still, raster) = loaded.get(at % loaded.len().max(1))?;
        let last = stills.last().map_or("", |still| still.name.as_str());
        let label = format!("{:>width$}/{last}", still.name, width = last.len());
        Some(Exhibit { pictures: vec![Shown { label, raster: Arc::clone(raster) }], words: None })
    }

    /// Hangs what is there, unless it must wait, or nobody knows how pictures are shown. True where something changed on
    /// the screen.
    pub fn hang(&mut self, known: bool) -> bool {
        self.waits = false;
        let key = self.subject.as_ref().map(|subject| (subject.key(), self.shown_view())).filter(|_| self.is_open());
        let before = self.exhibit.clone();
        if key != self.of || key.is_none() {
            self.exhibit = Exhibit::default();
            self.of = key;
        }
        if key.is_some()
            && let Some(wanted) = self.wanted()
            && wanted != self.exhibit
        {
            let is_picture = !wanted.pictures.is_empty();
            if is_picture && (self.held || !known) {
                self.waits = known;
            } else {
                self.like = wanted.pictures.first().map(|shown| Arc::clone(&shown.raster)).or(self.like.take());
                self.exhibit = wanted;
            }
        }
        self.exhibit != before
    }

    /// How many of a place's columns the pictures can use, as far as can be known before they are there: nothing moves
    /// about while the cursor goes from clip to clip.
    pub fn width_in(&self, place: Rect, cell: (u16, u16)) -> u16 {
        let Some(like) = self.like.as_ref().filter(|_| self.exhibit.words.is_none()) else { return place.width };
        let count = match self.shown_view() {
            _ if self.plays() => 1,
            View::Ends => 2,
            View::Strip => 8,
            View::Difference | View::Live => 1,
            View::Off => return place.width,
        };
        raster::wanted(count, like, place, cell)
    }

    /// While they are held, pictures that are not on the screen wait.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Pictures wait to be let through.
    pub fn waits(&self) -> bool {
        self.waits
    }
}
