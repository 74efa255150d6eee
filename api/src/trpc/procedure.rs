//! The procedures, and which operation each is.

use futures::future::BoxFuture;
use serde_json::Value;
use toolroom_domain::access::Operation;

use super::{events, tool_action_logs as logs, tools};
use crate::{
    http::fields::Fields,
    rest::{Edge, failure::Failure},
    state::RequestContext,
};

/// How a procedure is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By GET; changes nothing.
    Query,
    /// By POST.
    Mutation,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Query => "GET",
            Self::Mutation => "POST",
        }
    }
}

/// What carries a procedure out.
pub(super) type Handler =
    fn(Edge, RequestContext, Fields) -> BoxFuture<'static, Result<Value, Failure>>;

/// A procedure of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Procedure {
    /// Its path, such as `tools.getAll`.
    pub path: &'static str,
    /// How it is called.
    pub kind: Kind,
    /// Which operation it is, for the table of roles.
    pub operation: Operation,
    pub(super) handler: Handler,
}

macro_rules! procedures {
    ($($path:literal = $kind:ident $operation:ident $handler:path,)+) => {
        /// All of them.
        pub const PROCEDURES: &[Procedure] = &[$(Procedure {
            path: $path,
            kind: Kind::$kind,
            operation: Operation::$operation,
            handler: |edge, ctx, input| Box::pin($handler(edge, ctx, input)),
        },)+];
    };
}

procedures! {
    "tools.getAll" = Query Tools tools::get_all::handle,
    "tools.getById" = Query Tool tools::get_by_id::handle,
    "tools.create" = Mutation RegisterTool tools::create::handle,
    "tools.update" = Mutation UpdateTool tools::update::handle,
    "tools.delete" = Mutation DeleteTool tools::delete::handle,
    "tools.testConnection" = Mutation TestConnection tools::test_connection::handle,
    "tools.executeAction" = Mutation ExecuteTool tools::execute_action::handle,
    "tools.getStats" = Query Stats tools::get_stats::handle,
    "toolActionLogs.getRecent" = Query Jobs logs::get_recent::handle,
    "toolActionLogs.getByEventId" = Query Jobs logs::get_by_event_id::handle,
    // What a schedule starts are jobs: whoever may submit one may have it submitted.
    "events.create" = Mutation SubmitJob events::create::handle,
}

/// The procedure of this path.
pub(super) fn find(path: &str) -> Option<&'static Procedure> {
    PROCEDURES.iter().find(|procedure| procedure.path == path)
}
