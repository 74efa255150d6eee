//! What is shown of a job's values.

use async_trait::async_trait;
use serde_json::Value;
use toolroom_domain::{
    ErrorCode, Violation, WorkspaceId,
    port::{OutputMapping, PortError, Presenter},
    tool::{Definition, RestConfig, ToolConfig},
};

use super::{
    Executor, StoreError, rest,
    schema::{INLINE_BYTES, serialised_bytes},
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

    fn check_output_mapping(&self, mapping: &OutputMapping) -> Result<(), Vec<Violation>> {
        rest::check_output_mapping(mapping)
    }

    async fn map_output(&self, mapping: &OutputMapping, output: Value) -> Result<Value, PortError> {
        if serialised_bytes(&output) <= INLINE_BYTES {
            return rest::map_output(mapping, output).map_err(unmapped);
        }
        let mapping = mapping.clone();
        let mapped = tokio::task::spawn_blocking(move || rest::map_output(&mapping, output));
        match mapped.await {
            Ok(mapped) => mapped.map_err(unmapped),
            Err(error) => Err(PortError {
                code: ErrorCode::InternalError,
                message: format!("the output could not be mapped: {error}"),
                violations: Vec::new(),
                retry_after_ms: None,
            }),
        }
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

fn unmapped(violations: Vec<Violation>) -> PortError {
    PortError {
        code: ErrorCode::ValidationFailed,
        message: "the output cannot be mapped as asked; see `details`".to_owned(),
        violations,
        retry_after_ms: None,
    }
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
