//! Where secrets come from.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;
use toolroom_domain::{ErrorCategory, WorkspaceId};
use zeroize::Zeroizing;

use crate::executor::error::CallError;

/// A secret's value, as it goes to the other side. Never printed.
#[derive(Clone)]
pub struct SecretValue {
    /// The value; erased from memory when it is dropped.
    pub text: Zeroizing<String>,
    /// Which version of the secret it is.
    pub version: u32,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue(version {})", self.version)
    }
}

/// The credentials that are kept of a tool. Never printed.
#[derive(Clone)]
pub struct KeptCredentials {
    /// The credentials, as JSON.
    pub value: Value,
    /// The version of the tool with which they were set.
    pub version: u32,
}

impl fmt::Debug for KeptCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptCredentials(version {})", self.version)
    }
}

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secrets could not be read: {0}")]
pub struct StoreError(pub String);

/// Holds the workspaces' secrets, and the credentials of their tools.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// The secret of a name, if the workspace has one.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretValue>, StoreError>;

    /// The credentials of an id, if the workspace has them.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn credentials(
        &self,
        workspace: WorkspaceId,
        id: &str,
    ) -> Result<Option<KeptCredentials>, StoreError>;
}

/// A store that holds nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn secret(&self, _: WorkspaceId, _: &str) -> Result<Option<SecretValue>, StoreError> {
        Ok(None)
    }

    async fn credentials(
        &self,
        _: WorkspaceId,
        _: &str,
    ) -> Result<Option<KeptCredentials>, StoreError> {
        Ok(None)
    }
}

/// Looks a variable of the server's environment up.
pub type EnvLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a `${NAME}` stands for: a secret of the workspace, else a variable of the environment that the
/// operator listed. The latter are the operator's own, and so serve the workspace `default` alone.
#[derive(Clone)]
pub(crate) struct SecretSource {
    pub(crate) store: Arc<dyn SecretStore>,
    pub(crate) listed: Arc<[String]>,
    pub(crate) lookup: EnvLookup,
}

impl SecretSource {
    pub(super) async fn find(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<SecretValue, CallError> {
        let kept = self.kept(workspace, name).await;
        let kept = kept.map_err(|error| {
            tracing::warn!(%workspace, secret = name, %error, "a secret cannot be had");
            CallError {
                retryable: true,
                ..CallError::failed(
                    ErrorCategory::Unknown,
                    format!("the secret `{name}` could not be read; try again in a moment"),
                )
            }
        })?;
        kept.ok_or_else(|| {
            CallError::failed(ErrorCategory::Authentication, missing(workspace, name))
        })
    }

    /// The value of a name, if there is one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn kept(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretValue>, StoreError> {
        let stored = self.store.secret(workspace, name).await?;
        Ok(stored.or_else(|| self.variable(workspace, name)))
    }

    fn variable(&self, workspace: WorkspaceId, name: &str) -> Option<SecretValue> {
        if workspace != WorkspaceId::DEFAULT || !self.listed.iter().any(|listed| listed == name) {
            return None;
        }
        let text = (self.lookup)(name).filter(|text| !text.is_empty())?;
        Some(SecretValue {
            text: Zeroizing::new(text),
            version: 0,
        })
    }
}

fn missing(workspace: WorkspaceId, name: &str) -> String {
    let create = format!(
        "the workspace has no secret `{name}`; create it with `createSecret` or `POST /api/v1/secrets`"
    );
    if workspace == WorkspaceId::DEFAULT {
        format!(
            "{create}, or have the operator set it in the server's environment and list it in `env_secrets`"
        )
    } else {
        create
    }
}
