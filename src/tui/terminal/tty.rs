//! The terminal itself: taken, written to, and given back as it was.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal;

/// Alternate screen, no cursor, pastes marked as such (so that pasted text presses no keys).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";
/// Ends whatever sequence was cut in the middle (CAN), then undoes [`ENTER`] in its order.
const LEAVE: &[u8] = b"\x18\x1b[m\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// A blocked terminal gets this long to take the last bytes.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Whether the terminal is ours now, so that it is given back once, by whoever comes first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Columns and lines.
pub fn size() -> Option<(u16, u16)> {
    terminal::size().ok().filter(|(w, h)| *w > 0 && *h > 0)
}

/// The terminal hung up.
pub fn is_gone(error: &io::Error) -> bool {
    // EIO is what a write to a terminal that hung up answers.
    error.kind() == io::ErrorKind::BrokenPipe || (cfg!(unix) && error.raw_os_error() == Some(5))
}

pub struct Tty {
    out: Out,
    queue: Vec<u8>,
    sent: usize,
    /// When the terminal took no more of the queue at once, and what it had taken by then.
    full: Option<(Instant, usize)>,
    /// Bytes of the last queue that were taken after that, and how long that took; all of them, and no time, where it
    /// took all at once.
    drained: Option<(usize, Duration)>,
}

impl Tty {
    pub fn open() -> io::Result<Self> {
        Ok(Self { out: Out::open()?, queue: Vec::new(), sent: 0, full: None, drained: None })
    }

    /// Takes the terminal: raw, on its other screen. Harmless when it is taken already.
    pub fn enter(&mut self) -> io::Result<()> {
        // After a stop the shell has set its own modes, of which crossterm knows nothing.
        if TAKEN.load(Ordering::SeqCst) {
            terminal::disable_raw_mode()?;
        }
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        self.drop_queue();
        self.queue(ENTER);
        self.flush().map(|_| ())
    }

    /// Gives it back.
    pub fn leave(&mut self) {
        if !TAKEN.swap(false, Ordering::SeqCst) {
            return;
        }
        self.drop_queue();
        self.queue(LEAVE);
        self.flush_for(LAST_WORDS);
        let _ = terminal::disable_raw_mode();
    }

    /// Adds bytes to what is to be written.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.queue.extend_from_slice(bytes);
    }

    pub fn is_flushed(&self) -> bool {
        self.sent == self.queue.len()
    }

    /// Writes what the terminal takes at once. True when all is written.
    pub fn flush(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.queue.get(self.sent..).filter(|r| !r.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full.get_or_insert_with(|| (Instant::now(), self.sent));
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent > 0 {
            let all = (self.sent, Duration::ZERO);
            self.drained = Some(self.full.map_or(all, |(at, before)| (self.sent - before, at.elapsed())));
        }
        self.drop_queue();
        Ok(true)
    }

    /// What the terminal took since this was asked last: see [`Tty::drained`](field@Self::drained).
    pub fn drained(&mut self) -> Option<(usize, Duration)> {
        self.drained.take()
    }

    fn flush_for(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while matches!(self.flush(), Ok(false)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn drop_queue(&mut self) {
        self.queue.clear();
        self.sent = 0;
        self.full = None;
    }

    #[cfg(unix)]
    pub fn handle(&self) -> io::Result<std::fs::File> {
        self.out.handle()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Gives the terminal back from any thread, without the [`Tty`]: for a panic, and as a last resort.
pub fn restore() {
    if TAKEN.load(Ordering::SeqCst)
        && let Ok(mut tty) = Tty::open()
    {
        tty.leave();
    }
}

type Hook = dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync;

/// While it lives, a panic gives the terminal back before its words are printed.
pub fn restore_on_panic() -> PanicGuard {
    let drawing = std::thread::current().id();
    let before: Arc<Hook> = std::panic::take_hook().into();
    let kept = before.clone();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        kept(info);
        // Another thread's panic would leave this one drawing over the shell.
        if std::thread::current().id() != drawing {
            std::process::exit(101);
        }
    }));
    PanicGuard { before: Some(before) }
}

pub struct PanicGuard {
    before: Option<Arc<Hook>>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        // A hook must not be changed by a thread that panics.
        if !std::thread::panicking()
            && let Some(before) = self.before.take()
        {
            std::panic::set_hook(Box::new(move |info| before(info)));
        }
    }
}

/// A second, non-blocking door to the terminal that stdout is: its own open file, so that neither
/// stdin nor the shell is made non-blocking with it.
#[cfg(unix)]
enum Out {
    Own(std::fs::File),
    /// The terminal can't be opened anew (after `su`, say): writes may block.
    Stdout(io::Stdout),
}

#[cfg(unix)]
impl Out {
    #[expect(clippy::unnecessary_wraps, reason = "the console of Windows can refuse")]
    fn open() -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt as _;

        use rustix::fs::{Mode, OFlags};

        let name = rustix::termios::ttyname(io::stdout(), Vec::new()).ok();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let named = name.as_ref().map(|n| std::ffi::OsStr::from_bytes(n.as_bytes()));
        for path in named.into_iter().chain([std::ffi::OsStr::new("/dev/tty")]) {
            if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
                return Ok(Self::Own(file.into()));
            }
        }
        Ok(Self::Stdout(io::stdout()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(file) => file.write(bytes),
            Self::Stdout(stdout) => {
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(bytes.len())
            }
        }
    }

    fn handle(&self) -> io::Result<std::fs::File> {
        use std::os::fd::AsFd as _;
        match self {
            Self::Own(file) => file.try_clone(),
            Self::Stdout(stdout) => Ok(stdout.as_fd().try_clone_to_owned()?.into()),
        }
    }
}

#[cfg(windows)]
struct Out(io::Stdout);

#[cfg(windows)]
impl Out {
    fn open() -> io::Result<Self> {
        // Turns escape sequences on, too.
        if ratatui::crossterm::ansi_support::supports_ansi() {
            Ok(Self(io::stdout()))
        } else {
            Err(io::Error::other("this console understands no escape sequences: use Windows Terminal"))
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.0.flush()?;
        Ok(bytes.len())
    }
}
