//! What this node does because of an event. One file a policy, named as a sentence.

pub mod abort_call_when_job_cancelled;
