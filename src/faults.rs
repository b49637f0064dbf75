//! Named points before and after every write, rename and request, at which a test may kill this process; and a clock that
//! it may set wrong.
//!
//! Without the cargo feature `faults` they are nothing at all: what stands between two points is simply done, and the
//! clock is the machine's. With it, `COMFYTOP_KILL` names the point at which the process dies as by SIGKILL, or a file that
//! names it from some moment on, `COMFYTOP_POINTS` a file to which every point passed is added, and `COMFYTOP_CLOCK` one
//! with the seconds by which the clock is wrong. `tests/survives.rs` sees to it that no step goes without. It must never
//! change what is done, and no release is built with it.

use jiff::Timestamp;

/// Does one step on the outside world, between its two points.
pub fn step<T>(name: &'static str, act: impl FnOnce() -> T) -> T {
    armed::pass(name, "", "before");
    let done = act();
    armed::pass(name, "", "after");
    done
}

/// Sends one request, between its two points. `at`: method and address.
pub async fn request<T>(name: &'static str, at: &str, send: impl Future<Output = T>) -> T {
    armed::pass(name, at, "before");
    let done = send.await;
    armed::pass(name, at, "after");
    done
}

/// The time by which jobs are steered.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(armed::error_of_the_clock()).unwrap_or(now)
}

#[cfg(not(feature = "faults"))]
mod armed {
    pub fn pass(_: &str, _: &str, _: &str) {}

    pub fn error_of_the_clock() -> jiff::SignedDuration {
        jiff::SignedDuration::ZERO
    }
}

#[cfg(feature = "faults")]
mod armed {
    use std::collections::HashMap;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::{LazyLock, Mutex, PoisonError};

    /// `COMFYTOP_KILL`: `17`, the 17th point that this process passes; `store.write before 2`, the second time that it
    /// passes this one; or `@FILE`, the next time that it passes the point which that file names, once there is one.
    enum Kill {
        Nth(u64),
        At(String, u64),
        Named(PathBuf),
        Never,
    }

    static KILL: LazyLock<Kill> = LazyLock::new(|| {
        let Ok(text) = std::env::var("COMFYTOP_KILL") else { return Kill::Never };
        if let Ok(nth) = text.parse() {
            return Kill::Nth(nth);
        }
        if let Some(file) = text.strip_prefix('@') {
            return Kill::Named(PathBuf::from(file));
        }
        match text.rsplit_once(' ').and_then(|(point, nth)| Some((point.to_owned(), nth.parse().ok()?))) {
            Some((point, nth)) => Kill::At(point, nth),
            None => Kill::Never,
        }
    });

    /// How often each point was passed; all of them under "".
    static PASSED: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

    pub fn pass(name: &str, at: &str, side: &str) {
        let point = format!("{name}{} {side}", route(at));
        let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = |point: &str| {
            let count = passed.entry(point.to_owned()).or_default();
            *count += 1;
            *count
        };
        let (all, own) = (count(""), count(&point));
        if let Some(path) = std::env::var_os("COMFYTOP_POINTS")
            && let Ok(mut file) = std::fs::File::options().create(true).append(true).open(path)
        {
            let _ = writeln!(file, "{point}");
        }
        let dies = match &*KILL {
            Kill::Nth(nth) => *nth == all,
            Kill::At(wanted, nth) => *wanted == point && *nth == own,
            Kill::Named(file) => std::fs::read_to_string(file).is_ok_and(|wanted| wanted == point),
            Kill::Never => false,
        };
        if dies {
            die();
        }
    }

    pub fn error_of_the_clock() -> jiff::SignedDuration {
        static FILE: LazyLock<Option<PathBuf>> =
            LazyLock::new(|| std::env::var_os("COMFYTOP_CLOCK").map(PathBuf::from));
        let told = FILE.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        jiff::SignedDuration::from_secs(told.and_then(|told| told.trim().parse().ok()).unwrap_or(0))
    }

    /// ` POST /prompt` of `POST http://127.0.0.1:8188/prompt`; ids become `{id}`.
    fn route(at: &str) -> String {
        let Some((method, url)) = at.split_once(' ') else { return String::new() };
        let path = url.split_once("://").map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        let path = path.split('?').next().unwrap_or_default();
        let part = |part: &str| if part.len() == 36 { "{id}".to_owned() } else { part.to_owned() };
        let parts: Vec<_> = path.split('/').map(part).collect();
        format!(" {method} /{}", parts.join("/"))
    }

    fn die() -> ! {
        #[cfg(unix)]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        std::process::abort();
        #[cfg(unix)]
        loop {
            std::thread::park();
        }
    }
}
