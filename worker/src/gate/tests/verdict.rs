//! What counts as a failure of the other side.

use std::time::Duration;

use toolroom_domain::{ErrorCategory as Category, ErrorCode as Code};

use super::super::{Denied, Proof, Settled, verdict::Verdict};
use crate::executor::{Announced, CallError};

#[test]
fn failures_are_the_other_sides_and_nobody_elses() {
    let of = Verdict::of;
    for category in [Category::Network, Category::Timeout, Category::ServerError] {
        assert_eq!(of(Code::ToolFailed, category), Verdict::Fails);
    }
    assert_eq!(of(Code::OutcomeUnknown, Category::Unknown), Verdict::Fails);
    for category in [
        Category::Authentication,
        Category::Authorization,
        Category::RateLimit,
    ] {
        assert_eq!(of(Code::ToolFailed, category), Verdict::Answers);
    }
    for (code, category) in [
        (Code::ToolFailed, Category::Validation),
        (Code::ToolFailed, Category::Unknown),
        (Code::ValidationFailed, Category::Validation),
        (Code::EgressDenied, Category::Authorization),
        (Code::JobCancelled, Category::Unknown),
        // Our own refusals say nothing of the other side, whatever their category.
        (Code::CircuitOpen, Category::ServerError),
        (Code::RateLimitExceeded, Category::RateLimit),
    ] {
        assert_eq!(of(code, category), Verdict::Silent, "{code:?}");
    }
}

#[test]
fn what_is_kept_back_by_us_is_no_refusal_of_the_other_side() {
    let wait = Some(Duration::from_secs(130));
    let refused = CallError {
        retry_after: wait,
        ..CallError::failed(Category::RateLimit, "too many requests")
    };
    let kept_back = CallError::from(Denied {
        code: Code::RateLimitExceeded,
        category: Category::RateLimit,
        message: "a step of the run would wait too long".to_owned(),
        retry_after: Duration::from_secs(130),
    });
    for (error, is_refused, retry_after) in [(refused, true, wait), (kept_back, false, None)] {
        let settled = Settled::of(&Err(error), Proof::Works, Announced::default());
        assert_eq!(settled.is_refused(), is_refused);
        assert_eq!(settled.announced.retry_after, retry_after);
        assert_ne!(settled.verdict(), Verdict::Works);
    }
}
