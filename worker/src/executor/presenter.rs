//! What is shown of a job's values.

use async_trait::async_trait;
use serde_json::Value;
use toolroom_domain::{
    ErrorCode, WorkspaceId,
    port::{PortError, Presenter},
    tool::{Definition, RestConfig, ToolConfig},
};

use super::{
    Executor, StoreError,
    secrets::{SecretSource, Secrets},
};
use crate::connector;

/// When to ask again after the secrets could not be read, in milliseconds: as after any fault of the
/// database.
const RETRY_AFTER_MS: u64 = 1_000;

#[async_trait]
impl Presenter for Executor {
    async fn without_secrets(
        &self,
        workspace: WorkspaceId,
        definition: &Definition,
        value: Value,
    ) -> Result<Value, PortError> {
        let mut secrets = Secrets::of(workspace);
        let known = match &definition.config {
            // These are given none.
            ToolConfig::Native(_) | ToolConfig::External(_) => return Ok(value),
            ToolConfig::Rest(rest) => learn_of(rest, &self.secrets, &mut secrets).await,
            ToolConfig::Connector(config) => {
                let of = &config.credentials;
                connector::learn(workspace, &self.secrets, of, &mut secrets).await
            }
        };
        known.map_err(unread)?;
        Ok(secrets.masked_output(value).await)
    }
}

async fn learn_of(
    rest: &RestConfig,
    source: &SecretSource,
    secrets: &mut Secrets,
) -> Result<(), StoreError> {
    let Some(auth) = &rest.api.auth else {
        return Ok(());
    };
    for text in [&auth.secret_ref, &auth.username, &auth.client_id] {
        secrets
            .learn(source, text.as_deref().unwrap_or_default())
            .await?;
    }
    Ok(())
}

fn unread(error: StoreError) -> PortError {
    tracing::warn!(%error, "a value is not shown: the secrets in it cannot be known");
    PortError {
        code: ErrorCode::ServiceUnavailable,
        message: "the secrets to be masked in the value could not be read; try again in a moment"
            .to_owned(),
        violations: Vec::new(),
        retry_after_ms: Some(RETRY_AFTER_MS),
    }
}
