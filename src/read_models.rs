//! All read models of this server.

use std::sync::Arc;

use toolroom_projections::{Projection, queue::Queue};

/// Those that can be asked, and the queue that the worker takes jobs from.
pub fn all(queue: &Queue) -> Vec<Arc<dyn Projection>> {
    let mut all = toolroom_projections::all();
    all.push(Arc::new(queue.clone()));
    all
}
