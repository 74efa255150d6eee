//! Runs what is to be run.

pub mod executor;
