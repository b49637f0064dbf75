//! Stores of every version that was ever released load, whole, for ever.

use std::fs;
use std::path::PathBuf;

use comfytop::engine::core::{FLOW_KEY, KeptFlow};
use comfytop::store::Store;

use super::stage::Stage;

fn stores() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "db")).collect()
}

/// Each job and its state, as 1.db was written.
const STATES: [&str; 9] = ["done", "duplicate", "done", "failed", "rejected", "queued", "held", "cancelled", "queued"];

#[test]
fn every_store_there_ever_was_loads() {
    assert!(!stores().is_empty());
    for path in stores() {
        let stage = Stage::bare();
        let kept = stage.at(".comfytop");
        fs::create_dir_all(&kept).unwrap();
        let copy = kept.join("store.db");
        fs::copy(&path, &copy).unwrap();
        let store = Store::open(&copy).unwrap();
        let jobs = store.jobs().unwrap();
        let states: Vec<_> = jobs.iter().map(|job| job.state.word()).collect();
        assert_eq!(states, STATES, "{}", path.display());
        assert_eq!(store.next_job().unwrap(), 10, "numbers are not used again");
        for job in &jobs {
            let rejected = job.state.word() == "rejected";
            assert_eq!(store.prompt(job.id).unwrap().is_none(), rejected);
            assert!(!store.events(job.id).unwrap().is_empty() || job.attempts.is_empty(), "{}", job.id);
            for attempt in &job.attempts {
                assert!(store.posted(&attempt.prompt_id).unwrap().is_some());
            }
            let file = store.file_text(job.file.unwrap()).unwrap();
            assert!(!file.unwrap().is_empty());
        }
        assert_eq!((jobs[0].attempts.len(), jobs[2].attempts.len()), (2, 2), "requeued, and tried again");
        assert!(jobs[8].order() < jobs[5].order(), "#9 was moved to the top");
        let flow: KeptFlow = serde_json::from_str(&store.meta(FLOW_KEY).unwrap().unwrap()).unwrap();
        assert!(flow.engine.is_paused());
        drop(store);
        // And so it does for the program.
        let listed: Vec<_> = stage.ls().iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed, STATES);
        assert_eq!(stage.status()["engine"]["flow"]["flow"], "paused");
        assert!(stage.show(1).contains("SSIM 0."));
    }
}
