//! Tokens that must not count.

use super::support::*;
use crate::auth::Reason;

/// A token that must not count, and why.
pub(super) struct Forgery {
    token: String,
    reasons: &'static [Reason],
}

impl Forgery {
    pub(super) fn new(token: impl Into<String>, reasons: &'static [Reason]) -> Self {
        Self {
            token: token.into(),
            reasons,
        }
    }

    /// Good claims under this header, signed with the shared secret.
    pub(super) fn headed(header: impl AsRef<[u8]>, reasons: &'static [Reason]) -> Self {
        let token = token_of(header, claims().to_string(), Signer::Secret(SECRET));
        Self::new(token, reasons)
    }
}

/// Each is refused for a reason of its own, and all of them together cost one fetch at most.
pub(super) async fn all_are_refused(world: &World, forgeries: &[Forgery], at_least: usize) {
    assert!(forgeries.len() >= at_least, "only {}", forgeries.len());
    for Forgery { token, reasons } in forgeries {
        let reason = world.verify(token).await.expect_err(token);
        assert!(reasons.contains(&reason), "{reason:?} for {token:.300}");
    }
    let fetches = world.provider.fetches();
    assert!(fetches <= 1, "they made us fetch {fetches} times");
}
