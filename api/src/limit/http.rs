//! Counts each request, and tells its sender where they stand.
//!
//! The headers are those of the IETF's draft "RateLimit header fields for HTTP"
//! (draft-ietf-httpapi-ratelimit-headers-10): a policy names the quota `q` and its window `w` in
//! seconds, `RateLimit` says what remains (`r`) and in how many seconds all is there again (`t`).

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Admission, Standing, bucket::Flow};
use crate::{
    http::Problem,
    state::{AppState, RequestContext},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Turns away whoever sends more than their plan grants, and has the audit told of what else they
/// are refused.
pub(crate) async fn limited(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let admission = match request.extensions_mut().get_mut::<RequestContext>() {
        Some(context) => {
            context.denials = Some(state.denials.clone());
            let context = context.clone();
            state.limits.admit_request(&context).await
        }
        None => Admission::default(),
    };
    let mut response = match admission.refused {
        None => next.run(request).await,
        Some(error) => Problem::from(error).into_response(),
    };
    tell(response.headers_mut(), &admission.standings);
    response
}

fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    if standings.is_empty() {
        return;
    }
    let policies = standings.iter().map(|standing| {
        let flow = Flow::from(standing.rate);
        let window = flow.time_to_fill().as_secs();
        format!(
            "\"{}\";q={};w={window}",
            standing.limit, standing.rate.burst
        )
    });
    let states = standings.iter().map(|standing| {
        let flow = Flow::from(standing.rate);
        let missing = u64::from(standing.rate.burst).saturating_sub(standing.left);
        let seconds = flow.time_for(missing as f64).as_secs_f64().ceil();
        format!("\"{}\";r={};t={seconds}", standing.limit, standing.left)
    });
    for (name, items) in [
        (RATE_LIMIT_POLICY, policies.collect::<Vec<_>>()),
        (RATE_LIMIT, states.collect()),
    ] {
        if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use toolroom_domain::workspace::Plan;

    use super::*;

    #[test]
    fn a_sender_is_told_what_is_granted_and_what_is_left() {
        let grants = Plan::Pro.grants();
        let mut headers = HeaderMap::new();
        let standing = |limit, rate, left| Standing { limit, rate, left };
        tell(
            &mut headers,
            &[
                standing("key", grants.key, 0),
                standing("workspace", grants.workspace, 950),
            ],
        );
        assert_eq!(
            headers["ratelimit-policy"],
            r#""key";q=500;w=10, "workspace";q=1000;w=10"#
        );
        assert_eq!(
            headers["ratelimit"],
            r#""key";r=0;t=10, "workspace";r=950;t=1"#
        );
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_told() {
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[]);
        assert!(headers.is_empty());
    }
}
