//! What stands beside a job file that is put away.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::folder::Ending;
use crate::job::JobState;
use crate::protocol::{JobRow, job_json, told};
use crate::text;

/// The text beside a job file that is put away.
pub fn sidecar(ending: Ending, rows: &[JobRow]) -> String {
    match ending {
        Ending::Failed => error_text(rows),
        Ending::Done => {
            let now = Timestamp::now();
            let list: Vec<Value> = rows.iter().map(|row| job_json(row, now)).collect();
            format!("{}\n", text::json_text(&format!("{:#}", Value::Array(list))))
        }
    }
}

/// The text of the `.error.txt` beside a failed job file: what, where, how to mend it.
fn error_text(rows: &[JobRow]) -> String {
    let mut out = String::new();
    for row in rows {
        // Writing to a String can't fail.
        let _ = writeln!(out, "{}", told(row));
        if let JobState::Failed { why } | JobState::Rejected { why } = &row.state {
            for line in why.detail.lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    let has = |state: fn(&JobState) -> bool| rows.iter().any(|row| state(&row.state));
    out.push('\n');
    if has(|state| matches!(state, JobState::Failed { .. } | JobState::Rejected { .. })) {
        out.push_str("Mend the file and drop it into the inbox again.\n");
    }
    // Rejected again it would be.
    if has(|state| matches!(state, JobState::Failed { .. } | JobState::Cancelled { .. })) {
        out.push_str("Moved back into the inbox unchanged, those of its jobs that are not done run once more.\n");
    }
    out
}
