//! Who runs which job.
//!
//! What waits is a read model, `projections.queue`; who has taken what is `operational.leases`. A
//! row that is taken is not taken twice, but even if it were, the job's aggregate lets one start
//! it.

pub mod claim;
pub mod former;
pub mod lease;
