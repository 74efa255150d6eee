//! A call with the gate around it.

use std::future::Future;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Ask, Denied, Gate, Settled};
use crate::executor::{Announced, CallError};

impl From<Denied> for CallError {
    fn from(denied: Denied) -> Self {
        Self {
            code: denied.code,
            retryable: true,
            retry_after: Some(denied.retry_after),
            ..Self::failed(denied.category, denied.message)
        }
    }
}

impl Settled {
    /// What the outcome of a call says of the other side, and what that said itself.
    pub fn of(outcome: &Result<Value, CallError>, announced: Announced) -> Self {
        let Err(error) = outcome else {
            return Self {
                failed: None,
                announced,
            };
        };
        Self {
            failed: Some((error.code, error.category)),
            announced: Announced {
                retry_after: error.retry_after.or(announced.retry_after),
                ..announced
            },
        }
    }
}

impl Gate {
    /// Has a call made once it may be, and tells how it ended, with what the other side `announced`.
    /// `call` does nothing before it is polled.
    ///
    /// # Errors
    /// What the call fails of, or why it is not made.
    pub(crate) async fn guard(
        &self,
        ask: &Ask<'_>,
        cancel: &CancellationToken,
        call: impl Future<Output = Result<Value, CallError>>,
        announced: impl FnOnce() -> Announced,
    ) -> Result<Value, CallError> {
        let pass = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::cancelled()),
            admitted = self.admit(ask) => admitted?,
        };
        let outcome = call.await;
        pass.settle(Settled::of(&outcome, announced())).await;
        outcome
    }
}
