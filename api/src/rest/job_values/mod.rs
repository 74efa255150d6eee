//! What jobs were given and gave back, fetched by reference: the JSON as it was kept, nothing around
//! it, so that what is large need not go through an answer that holds more.

mod get_value;
mod range;

use axum::{
    Extension,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use toolroom_domain::access::Operation as O;

use super::{Edge, Routes, failure::Failure};
use crate::{service::jobs::Field, state::RequestContext};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/jobs/{job_id}/input", O::Job, input)
        .get("/api/v1/jobs/{job_id}/output", O::Job, output)
}

async fn input(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    get_value::answer(&edge.state, &ctx, &job, Field::Input, &headers).await
}

async fn output(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    get_value::answer(&edge.state, &ctx, &job, Field::Output, &headers).await
}
