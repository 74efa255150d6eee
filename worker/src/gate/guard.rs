//! A call with the gate around it.

use std::future::Future;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Announced, Ask, Denied, Gate, Settled};
use crate::executor::CallError;

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
    /// What the outcome of a call says of the other side.
    pub fn of(outcome: &Result<Value, CallError>) -> Self {
        let Err(error) = outcome else {
            return Self::default();
        };
        Self {
            failed: Some((error.code, error.category)),
            announced: error.retry_after.map(|time| Announced {
                remaining: None,
                reset_after: Some(time),
            }),
        }
    }
}

impl Gate {
    /// Has a call made once it may be, and tells how it ended. `call` does nothing before it is polled.
    ///
    /// # Errors
    /// What the call fails of, or why it is not made.
    pub(crate) async fn guard(
        &self,
        ask: &Ask<'_>,
        cancel: &CancellationToken,
        call: impl Future<Output = Result<Value, CallError>>,
    ) -> Result<Value, CallError> {
        let pass = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::cancelled()),
            admitted = self.admit(ask) => admitted?,
        };
        let outcome = call.await;
        pass.settle(Settled::of(&outcome)).await;
        outcome
    }
}
