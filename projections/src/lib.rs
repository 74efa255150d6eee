//! What is derived from the log, so that it can be asked.
//!
//! One folder a read model, named after its question: how it is made (`apply`) and how it is read
//! (`query`, `row`). All of it can be thrown away and comes out again from the log.
//!
//! [`start`] keeps projections going; the [`Reader`] that it returns tells where they stand.

use std::sync::Arc;

pub mod api_keys;
pub mod audit;
pub mod catalog;
mod dead_letter;
mod erasure;
mod follower;
mod generation;
pub mod jobs;
pub mod members;
pub mod page;
pub mod projection;
pub mod queue;
mod read;
mod reader;
mod rebuild;
mod request;
mod runner;
pub mod secrets;
pub mod stats;
pub mod usage;
pub mod workspaces;

pub use dead_letter::{DeadLetter, RetryError};
pub use page::{Page, PageRequest};
pub use projection::{ApplyError, Projection, Tables};
pub use reader::{ProjectionState, ProjectionStatus, Reader};
pub use rebuild::{Progress, RebuildError, rebuild_blocking};
pub use runner::{Config, start};

/// The read models of this crate.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(catalog::Catalog),
        Arc::new(jobs::Jobs),
        Arc::new(audit::Audit),
        Arc::new(stats::Stats),
        Arc::new(workspaces::Workspaces),
        Arc::new(members::Members),
        Arc::new(api_keys::ApiKeys),
        Arc::new(usage::Usage),
        Arc::new(secrets::Secrets),
    ]
}
