//! `tools.*`: the tools of a workspace, and what is done with them.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod execute_action;
pub(super) mod get_all;
pub(super) mod get_by_id;
pub(super) mod get_stats;
mod output_mapping;
mod result;
mod tool;
pub(super) mod update;

use serde_json::{Map, Value};

use tool::{Tool, renamed};

use crate::{error::ApiError, service::tools::Behaviour, state::AppState};

/// What a tool of a connector does.
///
/// # Errors
/// When there is no such connector.
fn behaviour(
    state: &AppState,
    connector: &str,
    _credentials: Map<String, Value>,
) -> Result<Behaviour, ApiError> {
    let known = state
        .checker
        .connectors()
        .iter()
        .map(|known| known.kind.clone());
    let error = ApiError::invalid_field("connector.type", "is no connector that this server has");
    Err(error.with_candidates_for(connector, known))
}
