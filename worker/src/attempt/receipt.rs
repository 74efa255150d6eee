//! What of a call may stay in the log for ever: that it went out, and nothing of what it carried.

use serde_json::Value;
use toolroom_domain::{
    JobId, WorkspaceId,
    job::{self, Receipt, SENT_URL_FIELD, seal_context},
};
use toolroom_eventlog::{CommandError, Vault, vault};

use super::until_available;
use crate::executor::CallError;

/// A receipt whose digest is keyed, and with the URL that the call goes to sealed, where that says
/// more than the words of its definition. Both end with the workspace's data key. Waits for a database
/// that is away.
///
/// # Errors
/// When the call must not leave, since it cannot be recorded.
pub(super) async fn closed(
    vault: &Vault,
    (workspace, job): (WorkspaceId, JobId),
    receipt: Receipt,
    sent_url: &str,
) -> Result<Receipt, CallError> {
    let context = seal_context(job, SENT_URL_FIELD);
    let url = Value::from(sent_url);
    let close = async || {
        let digest = vault.keyed_digest(workspace, &receipt.request_sha256);
        let (key, digest) = digest.await?;
        let sealed = match sent_url == receipt.url {
            true => None,
            false => Some(vault.seal(workspace, &context, &url).await?),
        };
        Ok((key, digest, sealed))
    };
    let closed = until_available(|| async {
        match close().await {
            Err(vault::Error::Database(_)) => Err(CommandError::<job::Error>::Unavailable),
            other => Ok(other),
        }
    });
    match closed.await {
        Ok(Ok((key, digest, sealed))) => Ok(Receipt {
            sent_url: sealed,
            request_sha256: digest,
            digest_key: Some(key),
            ..receipt
        }),
        // Its jobs are being cancelled.
        Ok(Err(vault::Error::Erased)) => Err(CallError::cancelled()),
        other => {
            tracing::error!(%job, ?other, "a call could not be recorded");
            Err(CallError::unrecorded())
        }
    }
}
