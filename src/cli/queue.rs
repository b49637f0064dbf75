//! The words that steer the queue, each turned into one request.

use std::io::Write;

use super::args::{PlaceArgs, QueueVerb};
use super::place::{Place, Trouble};
use super::{ids, running, starting};
use crate::job::JobId;
use crate::protocol::{MoveTo, NewPriority, Request};
use crate::verbs::{self, Code};

pub fn run(asks: &PlaceArgs, verb: QueueVerb, out: &mut dyn Write) -> Result<Code, Trouble> {
    let place = Place::settle(asks)?;
    Ok(match verb {
        QueueVerb::Pause { servers } => verbs::flow(&mut running(&place)?, Request::Pause { servers }, out)?,
        QueueVerb::Resume { servers } => verbs::flow(&mut starting(&place, false)?, Request::Resume { servers }, out)?,
        QueueVerb::Drain { servers } => verbs::flow(&mut running(&place)?, Request::Drain { servers }, out)?,
        QueueVerb::Move { jobs, top, bottom: _, before } => {
            let to = match before {
                Some(before) => MoveTo::Before(JobId(before)),
                None if top => MoveTo::Top,
                None => MoveTo::Bottom,
            };
            verbs::each(&mut running(&place)?, Request::Move { jobs: ids(&jobs), to }, out)?
        }
        QueueVerb::Priority { jobs } => {
            let request = priority(&jobs)?;
            verbs::each(&mut running(&place)?, request, out)?
        }
        QueueVerb::Edit { job } => verbs::edit(&mut starting(&place, false)?, JobId(job), out)?,
        QueueVerb::Log { job, json } => verbs::log(&mut starting(&place, true)?, JobId(job), json, out)?,
    })
}

/// `N… P`.
fn priority(words: &[i64]) -> Result<Request, Trouble> {
    let usage = || Trouble::Usage("write the jobs' numbers, and at last the priority".to_owned());
    let (priority, jobs) = words.split_last().ok_or_else(usage)?;
    let jobs = jobs.iter().map(|n| u64::try_from(*n).map(JobId)).collect::<Result<_, _>>().map_err(|_| usage())?;
    Ok(Request::Priority { jobs, priority: NewPriority::Is(*priority) })
}
