//! A cancelled job's call is aborted, on whichever node it runs. If it were not, its outcome would be
//! refused.

use toolroom_domain::JobId;
use toolroom_eventlog::RecordedEvent;

use crate::calls::Calls;

pub(super) fn react(event: &RecordedEvent, job: JobId, calls: &Calls) {
    if event.event_type == "JobCancelled" {
        calls.abort(job);
    }
}
