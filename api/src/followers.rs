//! What the API needs of the projections' runner.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Where a projection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name is the state itself")]
pub enum FollowerState {
    Running,
    Rebuilding,
    Stopped,
    Poisoned,
}

/// A projection, as its operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowerStatus {
    /// Its name.
    pub name: String,
    /// Up to where it has come.
    pub position: i64,
    /// Where the log ends.
    pub head: i64,
    /// What it is about.
    pub state: FollowerState,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// An event that a projection cannot apply.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterRow {
    /// Its id.
    pub id: i64,
    /// Which projection.
    pub projection: String,
    /// Which event.
    pub position: i64,
    /// Why.
    pub error: String,
    /// How often it was tried.
    pub attempts: i32,
    /// What is held back behind it.
    pub held_aggregate: String,
    /// Since when.
    pub at: Timestamp,
}

/// The projections' runner.
#[async_trait]
pub trait Followers: Send + Sync + 'static {
    /// Waits until a projection is as far as `position`; false when `within` is over before.
    async fn wait_for(
        &self,
        projection: &str,
        position: i64,
        within: Duration,
    ) -> Result<bool, sqlx::Error>;

    /// Whether a projection is behind or holds something back, so that its rows may be old.
    fn holds_back(&self, projection: &str) -> bool;
}
