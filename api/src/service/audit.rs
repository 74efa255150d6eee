//! The audit: the events of the log, with what was sealed in them opened.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use toolroom_domain::{
    JobId, Sealed,
    job::{SENT_URL_FIELD, ToolRef, seal_context},
};
use toolroom_eventlog::{RecordedEvent, vault::Opened};
use toolroom_projections::{
    Page,
    audit::{self, AuditQuery, AuditRow},
};

use super::{
    jobs,
    settle::{AUDIT, before_read},
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Where a job's events hold what is sealed: the event's field, within it the sealed one, and to
/// what it is bound.
const SEALED: [(&[&str], &str); 4] = [
    (&["input"], "input"),
    (&["output"], "output"),
    (&["error", "details"], "error"),
    (&["receipt", "sent_url"], SENT_URL_FIELD),
];

/// The events of the workspace by position.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    query: &AuditQuery,
) -> Result<Page<AuditRow>, ApiError> {
    before_read(state, ctx, AUDIT).await?;
    let reads = state.log.database.reads();
    Ok(audit::query::list(reads, ctx.workspace, query).await?)
}

/// One event by its position.
///
/// # Errors
/// When the database does not answer.
pub async fn event(
    state: &AppState,
    ctx: &RequestContext,
    position: i64,
) -> Result<Option<AuditRow>, ApiError> {
    let reads = state.log.database.reads();
    Ok(audit::query::event(reads, ctx.workspace, position).await?)
}

/// What an event says, with what was sealed opened, or the word `erased` in its place.
///
/// # Errors
/// When the vault cannot be read.
pub async fn payload(state: &AppState, event: &RecordedEvent) -> Result<Value, ApiError> {
    let mut payload: Value = serde_json::from_str(&event.payload).map_err(ApiError::internal)?;
    let (Ok(job), Ok(workspace)) = (
        event.aggregate_id.parse::<JobId>(),
        event.workspace_id.parse(),
    ) else {
        return Ok(payload);
    };
    let tool = ToolRef::deserialize(&payload["tool"]).ok();
    for (path, field) in SEALED {
        let Some(slot) = slot(&mut payload, path) else {
            continue;
        };
        let Ok(sealed) = serde_json::from_value::<Sealed>(slot.clone()) else {
            continue;
        };
        // A large value is told by its name: a page of events would be a page of large values.
        if let Some(blob) = &sealed.blob
            && !state.log.vault.is_erased(workspace).await?
        {
            *slot = json!({ "blob": blob });
            continue;
        }
        let context = seal_context(job, field);
        let opened = state.log.vault.open(workspace, &context, &sealed).await?;
        *slot = match (field, &tool, opened) {
            ("input", Some(tool), Opened::Value(input)) => {
                jobs::shown(state, workspace, tool, input).await?
            }
            (_, _, opened) => opened.into_value(),
        };
    }
    Ok(payload)
}

/// The value at a path of field names, wherever the event's serialised form nests it.
fn slot<'a>(payload: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter()
        .try_fold(payload, |value, name| field(value.as_object_mut()?, name))
}

fn field<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|value| !value.is_null())
}
