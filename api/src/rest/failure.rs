//! What an operation answers when it cannot do what it was asked.

use axum::response::{IntoResponse, Response};
use serde_json::Value;
use toolroom_domain::Violation;

use crate::{error::ApiError, http::Problem, state::RequestContext};

/// Why an operation was not carried out: ready to be given the contracts' one error body.
pub(crate) struct Failure(pub(crate) Problem);

impl Failure {
    /// An error of a service: a fault of ours is logged, here and nowhere else.
    pub(crate) fn of(error: ApiError, ctx: &RequestContext) -> Self {
        error.report(&ctx.request_id);
        if let Some(operation) = ctx.operation {
            ctx.note_refusal(operation.name(), &error);
        }
        Self(error.into())
    }

    /// As [`Self::of`], the fields called as this contract calls them.
    pub(crate) fn renamed(
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

    /// The same with a field of the contract's beside the error body's.
    pub(crate) fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.0.beside.insert(field.to_owned(), value.into());
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
