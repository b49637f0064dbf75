//! The store's shape, version by version. A step once released is never edited: add the next.

/// Each entry brings the store from its index to its index + 1 (`PRAGMA user_version`).
pub const STEPS: &[&str] = &[
    // 1: jobs, what they were made from, what was posted, and what happened
    "CREATE TABLE jobs (
         id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
         record  TEXT NOT NULL,                     -- job::Job as JSON
         prompt  TEXT                               -- store::Prompt as JSON; NULL for a rejected file
     );
     CREATE TABLE attempts (
         prompt_id TEXT PRIMARY KEY,
         job       INTEGER NOT NULL REFERENCES jobs(id),
         graph     TEXT                             -- exactly as posted
     );
     CREATE INDEX attempts_of_job ON attempts(job);
     CREATE TABLE events (
         seq    INTEGER PRIMARY KEY,
         job    INTEGER NOT NULL REFERENCES jobs(id),
         at     TEXT NOT NULL,                      -- RFC 3339
         change TEXT NOT NULL                       -- job::Change as JSON
     );
     CREATE INDEX events_of_job ON events(job);
     CREATE TABLE files (
         id     INTEGER PRIMARY KEY,                -- the number of its first job
         name   TEXT NOT NULL,
         place  TEXT NOT NULL,                      -- taking, queued, done, failed
         origin TEXT,                               -- where it was dropped
         hash   TEXT NOT NULL,
         text   BLOB NOT NULL
     );
     CREATE INDEX files_by_hash ON files(hash);
     CREATE TABLE servers (
         url       TEXT PRIMARY KEY,
         client_id TEXT NOT NULL                    -- made once: messages go only to it
     );
     CREATE TABLE estimates (
         key   TEXT PRIMARY KEY,                    -- server and kind of job
         times TEXT NOT NULL                        -- estimate::NodeTimes as JSON
     );
     CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);",
    // 2: what servers say of their nodes; files in inboxes that are inputs
    "CREATE TABLE object_info (
         url     TEXT NOT NULL,
         version TEXT NOT NULL,
         at      TEXT NOT NULL,                     -- RFC 3339
         text    TEXT NOT NULL,                     -- the answer, as it came
         PRIMARY KEY (url, version)
     );
     CREATE TABLE named (path TEXT PRIMARY KEY);    -- a job file named it: an input, never a job",
    // 3: what was seen of each output: too large to be kept with the job
    "CREATE TABLE looks (
         prompt_id TEXT NOT NULL,
         place     INTEGER NOT NULL,                -- 0 is the main output
         look      TEXT NOT NULL,                   -- protocol::Look as JSON
         PRIMARY KEY (prompt_id, place)
     );",
];
