//! A call with the gate around it.

use std::future::Future;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Ask, Denied, Gate, Proof, Settled};
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
    /// What the outcome of a call says of the other side, a success this, and what that said itself.
    pub fn of(outcome: &Result<Value, CallError>, proof: Proof, announced: Announced) -> Self {
        let Err(error) = outcome else {
            return Self {
                failed: None,
                proof,
                announced,
            };
        };
        let failed = Some((error.code, error.category));
        let mut settled = Self {
            failed,
            proof: Proof::Nothing,
            announced,
        };
        // When we ourselves let it leave is no wish of the other side.
        if error.retry_after.is_some() && !settled.is_kept_back() {
            settled.announced.retry_after = error.retry_after;
        }
        settled
    }
}

impl Gate {
    /// Has a call made once it may be, and tells how it ended, as `settled` has it. `call` does nothing
    /// before it is polled.
    ///
    /// # Errors
    /// What the call fails of, or why it is not made.
    pub(crate) async fn guard(
        &self,
        ask: &Ask<'_>,
        cancel: &CancellationToken,
        call: impl Future<Output = Result<Value, CallError>>,
        settled: impl FnOnce(&Result<Value, CallError>) -> Settled,
    ) -> Result<Value, CallError> {
        let pass = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::cancelled()),
            admitted = self.admit(ask) => admitted?,
        };
        let outcome = call.await;
        pass.settle(settled(&outcome)).await;
        outcome
    }
}
