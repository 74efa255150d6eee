//! What is derived from the log, so that it can be asked.
//!
//! One folder a read model, named after its question: how it is made (`apply`) and how it is read
//! (`query`, `row`). All of it can be thrown away and comes out again from the log.

pub mod audit;
pub mod catalog;
pub mod jobs;
pub mod page;
mod read;
pub mod stats;

pub use page::{Page, PageRequest};
