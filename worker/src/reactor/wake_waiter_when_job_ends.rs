//! Who waits for a job that was retried, here or on another node, is woken by its end.

use toolroom_domain::JobId;
use toolroom_eventlog::RecordedEvent;

use crate::ends::Ends;

pub(super) fn react(event: &RecordedEvent, job: JobId, ends: &Ends) {
    if matches!(
        event.event_type.as_str(),
        "JobSucceeded" | "JobFailed" | "JobCancelled"
    ) {
        ends.tell(job);
    }
}
