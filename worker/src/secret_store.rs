//! The executor's secrets, out of the vault.

use async_trait::async_trait;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{
    Vault,
    vault::{CREDENTIALS, SECRET},
};
use zeroize::Zeroizing;

use crate::executor::{KeptCredentials, SecretStore, SecretValue, StoreError};

/// The secrets of all workspaces, as the vault holds them. What changes on any node counts here
/// within a moment, and after 30 s in any case.
#[derive(Clone)]
pub struct VaultSecrets(Vault);

impl VaultSecrets {
    /// Those of a vault.
    pub fn new(vault: Vault) -> Self {
        Self(vault)
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

#[async_trait]
impl SecretStore for VaultSecrets {
    async fn secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretValue>, StoreError> {
        let row = self
            .0
            .cached_row(workspace, SECRET, name)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let text = std::str::from_utf8(&row.bytes).map_err(|_| failed("it is no text"))?;
        Ok(Some(SecretValue {
            text: Zeroizing::new(text.to_owned()),
            version: row.version,
        }))
    }

    async fn credentials(
        &self,
        workspace: WorkspaceId,
        id: &str,
    ) -> Result<Option<KeptCredentials>, StoreError> {
        let row = self
            .0
            .cached_row(workspace, CREDENTIALS, id)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(KeptCredentials {
            value: serde_json::from_slice(&row.bytes).map_err(|_| failed("they are no JSON"))?,
            version: row.version,
        }))
    }
}
