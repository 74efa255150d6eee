//! `toolActionLogs.*`: the runs that have ended, as a log.

pub(super) mod get_by_event_id;
pub(super) mod get_recent;
mod log;
