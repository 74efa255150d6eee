//! The credentials of connectors' tools: in the vault, never in an event.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use toolroom_domain::{
    ToolId, Violation, WorkspaceId,
    connector::{ConnectorSpec, MASK, shown, unmasked},
    port::DefinitionChecker,
    tool::{ConnectorConfig, CredentialsRef},
};
use toolroom_eventlog::{append::SideRow, vault::CREDENTIALS};

use super::behaviour::Making;
use crate::{error::ApiError, state::AppState};

/// Credentials in the clear. Never printed.
#[derive(Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Credentials(pub Value);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A connector's tool, as a client says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConnectorSettings {
    /// The connector's type, in whatever case.
    pub kind: String,
    /// With what it authenticates. A field that is `***` keeps what it was.
    pub credentials: Credentials,
    /// Settings that are no credentials.
    pub config: Option<Value>,
}

impl ConnectorSettings {
    /// What of it a version freezes, and the credentials to keep.
    ///
    /// # Errors
    /// What is wrong with it, paths relative to the input.
    pub(super) fn build(
        &self,
        making: &Making<'_>,
    ) -> Result<(ConnectorConfig, Credentials), Vec<Violation>> {
        let under = |found: Vec<Violation>| -> Vec<Violation> {
            found.into_iter().map(|v| v.under("connector")).collect()
        };
        let spec = making.checker.connector(&self.kind);
        let spec = spec.ok_or_else(|| vec![unknown(making.checker)])?;
        let kept = making.kept.as_ref().unwrap_or(&Value::Null);
        let whole = unmasked(&self.credentials.0, kept).map_err(|missing| {
            let problem = format!("is `{MASK}`, and there is nothing that it could keep");
            let place = |path: String| Violation::new(path, &problem).under("credentials");
            under(missing.into_iter().map(place).collect())
        })?;
        making
            .checker
            .check_credentials(&spec.kind, &whole, self.config.as_ref())
            .map_err(under)?;
        let config = ConnectorConfig {
            connector: spec.kind.clone(),
            credentials: CredentialsRef {
                id: row_name(making.tool, spec),
                version: making.version,
                shown: shown(&spec.credentials_schema, &whole),
            },
            config: self.config.clone(),
        };
        Ok((config, Credentials(whole)))
    }
}

fn unknown(checker: &dyn DefinitionChecker) -> Violation {
    let all = checker.connectors().iter();
    let kinds: Vec<_> = all.map(|spec| spec.kind.as_str()).collect();
    let problem = format!(
        "is not a connector of this server; there are {}",
        kinds.join(", ")
    );
    Violation::new("connector.type", problem)
}

/// One row a tool and connector: credentials that are replaced are gone, for old versions too.
fn row_name(tool: ToolId, spec: &ConnectorSpec) -> String {
    format!("{tool}/{}", spec.kind)
}

/// The credentials that are kept of a tool, if it has any of this connector.
///
/// # Errors
/// When the vault does not answer.
pub(super) async fn kept(
    state: &AppState,
    workspace: WorkspaceId,
    tool: ToolId,
    kind: &str,
) -> Result<Option<Value>, ApiError> {
    let Some(spec) = state.checker.connector(kind) else {
        return Ok(None);
    };
    let name = row_name(tool, spec);
    let row = state.log.vault.read_row(workspace, CREDENTIALS, &name);
    let row = row.await.map_err(ApiError::internal)?;
    row.map(|(_, bytes)| serde_json::from_slice(&bytes).map_err(ApiError::internal))
        .transpose()
}

/// The row that keeps credentials, to be written with the command's events.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn sealed(
    state: &AppState,
    workspace: WorkspaceId,
    of: &CredentialsRef,
    credentials: &Credentials,
) -> Result<SideRow, ApiError> {
    let text = zeroize::Zeroizing::new(credentials.0.to_string());
    let vault = &state.log.vault;
    let row = vault.seal_row(workspace, CREDENTIALS, &of.id, of.version, text.as_bytes());
    row.map_err(ApiError::internal)
}
