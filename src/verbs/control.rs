//! The verbs that steer the queue: pause, drain, edit, clean.

use std::io::{self, IsTerminal as _, Write};

use super::{Code, Outcome, print};
use crate::editor::{Draft, EditorError};
use crate::job::JobId;
use crate::link::{LinkError, Talk};
use crate::protocol::{Answer, Flow, Request};
use crate::text::{clean, clean_lines};

/// `comfytop pause`, `resume` and `drain`; tells how it stands then.
///
/// # Errors
/// When the engine can't be asked; so for all verbs here.
pub fn flow(talk: &mut Talk, request: Request, out: &mut dyn Write) -> Outcome {
    match talk.ask(request) {
        Ok(_) => {}
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {}", clean(&why));
            return Ok(Code::No);
        }
        Err(error) => return Err(error),
    }
    let Answer::Status(status) = talk.ask(Request::Status)? else { return Err(LinkError::Closed) };
    let word = |flow: &Flow| if flow.goes() { "going" } else { flow.word() };
    print(out, format_args!("{}\n", word(&status.engine.flow)));
    for server in status.servers.iter().filter(|s| !s.flow.goes()) {
        print(out, format_args!("{} {}\n", clean(&server.name), word(&server.flow)));
    }
    Ok(Code::Ok)
}

/// `comfytop edit N`: the job's text in `$EDITOR`; what can't be used is shown, and edited again.
pub fn edit(talk: &mut Talk, job: JobId, out: &mut dyn Write) -> Outcome {
    let text = match talk.ask(Request::Text { job }) {
        Ok(Answer::Text { text, .. }) => text,
        Ok(_) => return Err(LinkError::Closed),
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {}", clean(&why));
            return Ok(Code::No);
        }
        Err(error) => return Err(error),
    };
    let failed = |error: &EditorError| {
        eprintln!("comfytop: {error}");
        Ok(Code::No)
    };
    let draft = match Draft::new(&job.0.to_string(), "json", &text) {
        Ok(draft) => draft,
        Err(error) => return failed(&error),
    };
    loop {
        let edited = match draft.open() {
            Ok(edited) => edited,
            Err(error) => return failed(&error),
        };
        if edited == text {
            print(out, format_args!("{job} not changed\n"));
            return Ok(Code::Ok);
        }
        let Answer::Each(each) = talk.ask(Request::Edit { job, text: edited })? else { return Err(LinkError::Closed) };
        match each.into_iter().next() {
            Some((_, Ok(words))) => {
                print(out, format_args!("{job} {words}\n"));
                return Ok(Code::Ok);
            }
            Some((_, Err(why))) => {
                eprintln!("comfytop: {job}: {}", clean_lines(&why));
                if !again() {
                    let path = draft.keep();
                    eprintln!("comfytop: nothing was changed; what you wrote is in {}", path.display());
                    return Ok(Code::No);
                }
            }
            None => return Err(LinkError::Closed),
        }
    }
}

/// Whether the person wants the editor once more; a script does not.
fn again() -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!("Enter edits again, q gives up: ");
    let mut line = String::new();
    io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) && !line.trim().eq_ignore_ascii_case("q")
}

/// `comfytop clean [--dry-run]`.
pub fn clean_up(talk: &mut Talk, pretend: bool, out: &mut dyn Write) -> Outcome {
    match talk.ask(Request::Clean { pretend }) {
        Ok(Answer::Cleaned(lines)) => {
            for line in &lines {
                print(out, format_args!("{}\n", clean(line)));
            }
            if lines.is_empty() {
                print(out, format_args!("everything is within its limits ([keep] in comfytop.toml)\n"));
            }
            Ok(Code::Ok)
        }
        Ok(_) => Err(LinkError::Closed),
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {}", clean(&why));
            Ok(Code::No)
        }
        Err(error) => Err(error),
    }
}
