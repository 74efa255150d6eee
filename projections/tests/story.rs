//! What the read models tell, and what they survive, on a real database.

#![allow(missing_docs, reason = "tests")]

#[path = "story/audit.rs"]
mod audit;
#[path = "story/catalog.rs"]
mod catalog;
#[path = "story/erasure.rs"]
mod erasure;
#[path = "story/isolation.rs"]
mod isolation;
#[path = "story/jobs.rs"]
mod jobs;
#[path = "story/people.rs"]
mod people;
#[path = "story/poison.rs"]
mod poison;
#[path = "story/rebuild.rs"]
mod rebuild;
#[path = "story/secrets.rs"]
mod secrets;
#[path = "story/stats.rs"]
mod stats;
#[path = "story/support.rs"]
mod support;
#[path = "story/takeover.rs"]
mod takeover;
#[path = "story/usage.rs"]
mod usage;
