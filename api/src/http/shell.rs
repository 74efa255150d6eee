//! What connections, requests and subscriptions of one server share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::HttpOptions;

/// Of so many requests at once, one more may be a stranger's.
const STRANGERS_SHARE: usize = 8;

/// What connections, requests and subscriptions of one server share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The bounds that are kept.
    pub options: Arc<HttpOptions>,
    /// Ends everything, in order.
    pub shutdown: CancellationToken,
    /// WebSockets: HTTP forgets a connection once it is upgraded.
    pub(crate) sockets: TaskTracker,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) requests: Arc<Semaphore>,
    /// Places of requests with a large body.
    pub(crate) large: Arc<Semaphore>,
    /// Places of requests whose sender is not known: whoever needs no credential to take one must
    /// not take those of whoever has one.
    pub(crate) strangers: Arc<Semaphore>,
}

impl Shell {
    /// The shell of a server that ends with `shutdown`.
    pub fn new(options: HttpOptions, shutdown: CancellationToken) -> Self {
        let strangers = (options.max_concurrent_requests / STRANGERS_SHARE).max(1);
        Self {
            connections: Arc::new(Semaphore::new(options.max_connections)),
            requests: Arc::new(Semaphore::new(options.max_concurrent_requests)),
            strangers: Arc::new(Semaphore::new(strangers)),
            large: Arc::new(Semaphore::new(options.max_large_bodies)),
            options: Arc::new(options),
            shutdown,
            sockets: TaskTracker::new(),
        }
    }
}

/// A connection's place among [`HttpOptions::max_connections`]; what outlives its HTTP part, as a
/// WebSocket does, holds on to it.
#[derive(Clone, Debug)]
pub(crate) struct Place(#[allow(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}
