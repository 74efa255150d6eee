//! Which events somebody wants to see.

use jiff::Timestamp;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::RecordedEvent;

/// Which events. What is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFilter {
    /// Of one of these kinds of aggregate, such as `tool`; of any when empty.
    pub aggregate_type: Vec<String>,
    /// Of this aggregate.
    pub aggregate_id: Option<String>,
    /// One of these, such as `ToolRegistered`; any when empty.
    pub event_type: Vec<String>,
    /// Caused by this actor.
    pub actor: Option<String>,
    /// Of this request.
    pub correlation_id: Option<String>,
    /// Logged at or after this moment.
    pub from: Option<Timestamp>,
    /// Logged before this moment.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether an event is the workspace's and passes: for those who follow the feed live.
    pub fn matches(&self, workspace: WorkspaceId, event: &RecordedEvent) -> bool {
        let one_of =
            |wanted: &[String], is: &str| wanted.is_empty() || wanted.iter().any(|w| w == is);
        event.workspace_id == workspace.to_string()
            && one_of(&self.aggregate_type, &event.aggregate_type)
            && one_of(&self.event_type, &event.event_type)
            && self
                .aggregate_id
                .as_ref()
                .is_none_or(|id| *id == event.aggregate_id)
            && self.from.is_none_or(|from| from <= event.logged_at)
            && self.to.is_none_or(|to| event.logged_at < to)
            && self.matches_metadata(event)
    }

    /// The metadata is parsed only for those who ask about it.
    fn matches_metadata(&self, event: &RecordedEvent) -> bool {
        if self.actor.is_none() && self.correlation_id.is_none() {
            return true;
        }
        event.metadata().is_ok_and(|metadata| {
            self.actor.as_ref().is_none_or(|a| *a == metadata.actor)
                && self
                    .correlation_id
                    .as_ref()
                    .is_none_or(|id| *id == metadata.correlation_id)
        })
    }
}
