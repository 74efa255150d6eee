//! How much of jobs' values one request is told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use toolroom_domain::{ErrorCode, Sealed};

use crate::error::ApiError;

/// Bytes of jobs' values in one answer: two of the largest. Parsed they take some times as much
/// memory, and the answer as much again.
pub const TOLD_BYTES: u64 = 32 * 1024 * 1024;

/// What one request has been told of jobs' values. All that it asks for shares it: the calls of a
/// batch, fields under several names. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    /// Asks for values, before any of them is opened.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE` when these, with what the request was told before, are too much.
    pub fn take<'a>(&self, values: impl IntoIterator<Item = &'a Sealed>) -> Result<(), ApiError> {
        let bytes = values.into_iter().map(Sealed::bytes).sum();
        let add = |told: u64| Some(told.saturating_add(bytes)).filter(|told| *told <= TOLD_BYTES);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(drop).map_err(|told| {
            ApiError::new(
                ErrorCode::PayloadTooLarge,
                format!(
                    "an answer tells at most {TOLD_BYTES} bytes of what jobs were given and gave back; {told} were told, and there are {bytes} more: ask for fewer, or fetch each at `/api/v1/jobs/{{id}}/input` or `/output`, as `inputRef` and `outputRef` tell"
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use toolroom_domain::BlobRef;

    use super::*;

    fn of_bytes(bytes: u64) -> Sealed {
        Sealed {
            key: 1,
            data: String::new(),
            blob: Some(BlobRef {
                sha256: "00".repeat(32),
                bytes,
            }),
        }
    }

    #[test]
    fn whoever_shares_it_is_told_no_more_together() {
        let (told, half) = (Told::default(), of_bytes(TOLD_BYTES / 2));
        let other = told.clone();
        told.take([&half]).unwrap();
        let refused = other.take([&half, &of_bytes(1)]).unwrap_err();
        assert_eq!(refused.code, ErrorCode::PayloadTooLarge);
        other.take([&half]).unwrap();
        assert!(told.take([&of_bytes(1)]).is_err());
        Told::default().take([&half, &half]).unwrap();
    }
}
