//! How many statements a request costs. In a process of its own: it listens to the whole process.

mod support;

use std::sync::{Arc, LazyLock, Mutex};

use serde_json::json;
use support::{App, Planned};
use toolroom_api::limit::Limits;
use toolroom_domain::{WorkspaceId, workspace::Plan};
use toolroom_eventlog::SystemClock;
use tracing::{Event, Instrument as _, Span, Subscriber, field::Visit};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

/// Keeps the statements that are sent within a span called `counted`; those that the log and the
/// read models send meanwhile are in none.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<Sent>>>);

/// A statement, and the span that it was sent in.
type Sent = (Option<tracing::span::Id>, String);

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    statements
});

/// What `request` gives, and the statements that it sent.
async fn counted<T>(request: impl Future<Output = T>) -> (T, Vec<String>) {
    let statements = LazyLock::force(&STATEMENTS);
    let span = tracing::info_span!("counted");
    let given = request.instrument(span.clone()).await;
    (given, statements.within(&span))
}

impl Statements {
    fn within(&self, span: &Span) -> Vec<String> {
        let sent = self.0.lock().unwrap();
        let id = span.id();
        sent.iter()
            .filter(|(within, _)| *within == id)
            .map(|(_, sent)| sent.clone())
            .collect()
    }
}

struct Summary(String);

impl Visit for Summary {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "summary" {
            self.0 = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let counted = ctx
            .event_scope(event)
            .and_then(|mut scope| scope.find(|span| span.name() == "counted"));
        if event.metadata().target() == "sqlx::query"
            && let Some(span) = counted
        {
            let mut summary = Summary(String::new());
            event.record(&mut summary);
            self.0.lock().unwrap().push((Some(span.id()), summary.0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_with_their_tools_are_at_most_three_statements() {
    let app = App::start().await;
    for n in 0..5 {
        app.register(&format!("echo{n}")).await;
    }
    for n in 0..50 {
        app.run(&format!("echo{}", n % 5), json!({ "n": n })).await;
    }
    let query = "{ jobs(first: 50) { totalCount nodes { id input output lastEvent
        tool { name version inputSchema } } } }";
    LazyLock::force(&STATEMENTS);
    let (listed, sent) = counted(app.ask(query, json!({}))).await;
    assert_eq!(listed["jobs"]["totalCount"], 50);
    let nodes = listed["jobs"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 50);
    assert_eq!(nodes[0]["output"], json!({ "n": 49 }));
    assert_eq!(nodes[0]["tool"]["name"], "echo4");
    // The page, its total, and the tools of all fifty. None at all would mean that nothing counts.
    assert_eq!(sent.len(), 3, "{sent:#?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_cost_a_request_no_statement() {
    const REQUESTS: usize = 40;
    LazyLock::force(&STATEMENTS);
    let app = App::start().await;
    let limits = Limits::new(
        app.state.log.clone(),
        app.state.projections.clone(),
        Arc::new(Planned::of(Plan::Enterprise)),
        Arc::new(SystemClock),
        true,
    );
    let one = async || {
        let run = limits.reserve(WorkspaceId::DEFAULT).await;
        let admission = limits.admit(WorkspaceId::DEFAULT, None).await;
        assert!(run.is_ok() && admission.refused.is_none());
    };
    // The first finds nothing in hand.
    let ((), sent) = counted(one()).await;
    assert!(!sent.is_empty(), "nothing counts");
    for _ in 0..REQUESTS {
        let ((), sent) = counted(one()).await;
        assert!(sent.is_empty(), "{sent:#?}");
    }
    app.stop().await;
}
