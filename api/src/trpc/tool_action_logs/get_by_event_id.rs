//! `toolActionLogs.getByEventId`: the runs that a schedule started.

use serde_json::Value;

use crate::{
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure},
    state::RequestContext,
};

/// No run was started by a schedule while there are none: as GraphQL's `jobs` answers a filter by
/// `scheduleId`.
pub(in crate::trpc) async fn handle(
    _: Edge,
    _: RequestContext,
    mut input: Fields,
) -> Result<Value, Failure> {
    let event = input.reference("eventId");
    match input.required("eventId", event) {
        Some(_) => Ok(Value::Array(Vec::new())),
        None => Err(Problem::invalid(input.finish_open()).into()),
    }
}
