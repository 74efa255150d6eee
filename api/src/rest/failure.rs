//! What an operation answers when it cannot do what it was asked.

use axum::response::{IntoResponse, Response};
use toolroom_domain::Violation;

use crate::{error::ApiError, http::Problem, state::RequestContext};

/// Why an operation was not carried out: ready to be given the contracts' one error body.
pub(super) struct Failure(pub(super) Problem);

impl Failure {
    /// An error of a service: a fault of ours is logged, here and nowhere else.
    pub(super) fn of(error: ApiError, ctx: &RequestContext) -> Self {
        error.report(&ctx.request_id);
        if let Some(operation) = ctx.operation {
            ctx.note_refusal(operation.name(), &error);
        }
        Self(error.into())
    }

    /// As [`Self::of`], the fields called as this contract calls them.
    pub(super) fn renamed(
        error: ApiError,
        ctx: &RequestContext,
        rename: impl Fn(&str) -> String,
    ) -> Self {
        if error.violations.is_empty() {
            return Self::of(error, ctx);
        }
        let violations = error
            .violations
            .into_iter()
            .map(|v| Violation::new(rename(&v.path), v.message))
            .collect();
        Self(Problem::invalid(violations))
    }

    /// The same with a field of the contract's beside the error body's, as null.
    pub(super) fn with_null(mut self, field: &'static str) -> Self {
        self.0.null = Some(field);
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
