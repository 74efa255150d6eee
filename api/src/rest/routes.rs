//! Every REST route with the operation that it is: none can be served that the table of roles does
//! not know.

use axum::{
    Extension, Router,
    extract::{Request, State},
    handler::Handler,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use http::Method;
use toolroom_domain::access::Operation;

use super::{Edge, failure::Failure};
use crate::state::RequestContext;

/// A route, as the table of roles sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, such as `/tools/{tool_id}`.
    pub path: &'static str,
    /// What it is.
    pub operation: Operation,
}

/// Routes that have been laid out.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Edge>,
    listed: Vec<Route>,
}

impl Routes {
    pub(super) fn get<H, T>(self, path: &'static str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        self.on(MethodFilter::GET, Method::GET, path, operation, handler)
    }

    pub(super) fn post<H, T>(self, path: &'static str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        self.on(MethodFilter::POST, Method::POST, path, operation, handler)
    }

    pub(super) fn put<H, T>(self, path: &'static str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        self.on(MethodFilter::PUT, Method::PUT, path, operation, handler)
    }

    pub(super) fn patch<H, T>(self, path: &'static str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        self.on(MethodFilter::PATCH, Method::PATCH, path, operation, handler)
    }

    pub(super) fn delete<H, T>(self, path: &'static str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        self.on(
            MethodFilter::DELETE,
            Method::DELETE,
            path,
            operation,
            handler,
        )
    }

    fn on<H, T>(
        mut self,
        filter: MethodFilter,
        method: Method,
        path: &'static str,
        operation: Operation,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Edge>,
        T: 'static,
    {
        let guarded = on(filter, handler).layer(from_fn_with_state(operation, permitted));
        self.router = self.router.route(path, guarded);
        self.listed.push(Route {
            method,
            path,
            operation,
        });
        self
    }

    pub(super) fn listed(self) -> Vec<Route> {
        self.listed
    }

    pub(super) fn served(self, edge: Edge) -> Router {
        self.router.with_state(edge)
    }
}

async fn permitted(
    State(operation): State<Operation>,
    Extension(mut ctx): Extension<RequestContext>,
    mut request: Request,
    next: Next,
) -> Response {
    match ctx.require(operation) {
        Ok(()) => {
            ctx.operation = Some(operation);
            request.extensions_mut().insert(ctx);
            next.run(request).await
        }
        Err(error) => Failure::of(error, &ctx).into_response(),
    }
}
