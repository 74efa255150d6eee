//! GraphQL: the first-class surface. One folder a noun; what it does lies in [`crate::service`].

mod access;
mod api_key;
mod audit;
mod connection;
mod error;
mod job;
mod limits;
mod member;
mod scalar;
mod secret;
mod stats;
mod system;
mod tool;
mod workspace;

use std::{any::TypeId, sync::Arc};

use async_graphql::{
    Context, Data, Executor, Guard, MergedObject, MergedSubscription, Pos, Request, Response,
    ServerError, dataloader::DataLoader, parser::types::Selection,
};
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use toolroom_domain::ErrorCode;
use tracing::Instrument as _;

use crate::{
    auth::Identify as _,
    error::ApiError,
    http::graphql::standing::Lost,
    limit::Limits,
    service::jobs::Told,
    state::{AppState, RequestContext},
};
use tool::loader::ToolLoader;

/// What can be asked.
#[derive(MergedObject, Default)]
pub struct Query(
    system::SystemQuery,
    tool::ToolQuery,
    tool::ConnectorQuery,
    job::JobQuery,
    stats::StatsQuery,
    audit::AuditQuery,
    workspace::WorkspaceQuery,
    member::MemberQuery,
    api_key::ApiKeyQuery,
    secret::SecretQuery,
);

/// What can be done. Every mutation takes `commandId`: repeated with the same input it returns the
/// first successful outcome, with another one it fails.
#[derive(MergedObject, Default)]
pub struct Mutation(
    tool::ToolMutation,
    tool::ConnectorMutation,
    job::JobMutation,
    workspace::WorkspaceMutation,
    member::MemberMutation,
    api_key::ApiKeyMutation,
    secret::SecretMutation,
    system::SystemMutation,
);

/// What can be watched. Each resumes where it broke off: `after` takes the position last seen.
#[derive(MergedSubscription, Default)]
pub struct Subscription(job::JobSubscription, audit::AuditSubscription);

type Inner = async_graphql::Schema<Query, Mutation, Subscription>;

/// Answers GraphQL requests. A request's data holds its [`RequestContext`]. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Inner, Limits);

fn build() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    async_graphql::Schema::build(
        Query::default(),
        Mutation::default(),
        Subscription::default(),
    )
    .limit_depth(limits::DEPTH)
    .limit_complexity(limits::COMPLEXITY)
    .limit_directives(limits::DIRECTIVES)
}

/// The schema over a server's state.
///
/// # Panics
/// When it has an operation that the table of roles does not know: nobody would be kept from it.
pub fn schema(state: AppState) -> Schema {
    // A batch is read on behalf of the request that began it, and is logged as such.
    let spawn = |batch: BoxFuture<'static, ()>| tokio::spawn(batch.in_current_span());
    let loader = DataLoader::new(ToolLoader(state.clone()), spawn);
    let limits = state.limits.clone();
    let schema = build().data(state).data(loader).finish();
    let unknown = access::unknown(&schema.sdl());
    assert!(
        unknown.is_empty(),
        "no role is told of {unknown:?}: add them to `toolroom_domain::access`"
    );
    Schema(schema, limits)
}

/// The schema as text, for which nothing need run.
pub fn sdl() -> String {
    build().finish().sdl()
}

impl Executor for Schema {
    async fn execute(&self, request: Request) -> Response {
        let mut request = request.data(Told::default());
        let sender = sender(&request, None);
        let response = match check(&mut request, sender.as_ref()) {
            Ok(()) => self.0.execute(request).await,
            Err(error) => Response::from_errors(vec![error]),
        };
        error::complete(response, sender.as_ref())
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        // Of its own also where many come over one socket.
        let mut request = request.data(Told::default());
        let sender = sender(&request, session_data.as_deref());
        let whose = sender.clone();
        let Schema(schema, limits) = self.clone();
        let begun = async move {
            // What comes over a socket was counted as one request when the socket was opened.
            if let (Some(_), Some(sender)) = (&session_data, &sender)
                && let Some(refused) = limits.admit_request(sender).await.refused
            {
                return refusal(server_error(refused, None));
            }
            match check(&mut request, sender.as_ref()) {
                Ok(()) => schema
                    .execute_stream_with_session_data(request, session_data.unwrap_or_default())
                    .boxed(),
                Err(error) => refusal(error),
            }
        };
        begun
            .flatten_stream()
            .map(move |response| error::complete(response, whose.as_ref()))
            .boxed()
    }
}

fn refusal(error: ServerError) -> BoxStream<'static, Response> {
    stream::once(async { Response::from_errors(vec![error]) }).boxed()
}

/// An error of ours as the library carries it.
fn server_error(error: ApiError, at: Option<Pos>) -> ServerError {
    let message = error.to_string();
    ServerError {
        source: Some(Arc::new(error)),
        ..ServerError::new(message, at)
    }
}

/// Refuses what is no document, or one that is too large, before anything walks through it; and
/// one that asks for what its sender may not.
fn check(request: &mut Request, sender: Option<&RequestContext>) -> Result<(), ServerError> {
    let operation = request.operation_name.clone();
    let document = request.parsed_query()?;
    limits::check(document).map_err(|error| server_error(error, None))?;
    // Without a sender nothing can be resolved: see `request`.
    match sender {
        Some(sender) => access::check(sender, document, operation.as_deref()),
        None => Ok(()),
    }
}

/// Who asks: by the request itself, or by the socket that it came over.
fn sender(request: &Request, session: Option<&Data>) -> Option<RequestContext> {
    let key = TypeId::of::<RequestContext>();
    request
        .data
        .get(&key)
        .or_else(|| session?.get(&key))
        .and_then(|context| context.downcast_ref::<RequestContext>())
        .cloned()
}

/// Lets a mutation begin only if its sender is still who they were when the request came. Those of
/// one document are carried out one after the other, and the ones before may wait for minutes: who
/// lost their key or role meanwhile must not make another key by what comes last.
struct StillThere;

impl Guard for StillThere {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        // One that stands alone begins right after its sender was recognised.
        let roots = &ctx.query_env.operation.node.selection_set.node.items;
        if let [only] = roots.as_slice()
            && matches!(only.node, Selection::Field(_))
        {
            return Ok(());
        }
        let standing = app(ctx).auth.standing(request(ctx)?).await;
        match Lost::of(standing) {
            None => Ok(()),
            Some(lost) => Err(lost.error().into()),
        }
    }
}

/// What every request shares.
fn app<'a>(ctx: &Context<'a>) -> &'a AppState {
    ctx.data_unchecked()
}

/// What this request was told of jobs' values.
fn told<'a>(ctx: &Context<'a>) -> &'a Told {
    ctx.data_unchecked()
}

/// Who asks.
fn request<'a>(ctx: &Context<'a>) -> Result<&'a RequestContext, ApiError> {
    ctx.data_opt().ok_or_else(|| {
        ApiError::new(
            ErrorCode::Unauthenticated,
            "the request says nothing of its sender",
        )
    })
}
