//! What counts as a failure of the other side.

use toolroom_domain::{ErrorCategory as Category, ErrorCode as Code};

use super::super::verdict::Verdict;

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
