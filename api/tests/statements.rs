//! How many statements a request costs. In a process of its own: it listens to the whole process.

mod support;

use std::sync::{Arc, Mutex};

use serde_json::json;
use support::App;
use tracing::{Event, Instrument as _, Subscriber, field::Visit};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

/// Keeps the statements that are sent within a span called `counted`; those that the log and the
/// read models send meanwhile are in none.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

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
        let is_counted = ctx
            .event_scope(event)
            .is_some_and(|mut scope| scope.any(|span| span.name() == "counted"));
        if event.metadata().target() == "sqlx::query" && is_counted {
            let mut summary = Summary(String::new());
            event.record(&mut summary);
            self.0.lock().unwrap().push(summary.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_with_their_tools_are_at_most_three_statements() {
    let statements = Statements::default();
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(statements.clone()),
    )
    .unwrap();
    let app = App::start().await;
    for n in 0..5 {
        app.register(&format!("echo{n}")).await;
    }
    for n in 0..50 {
        app.run(&format!("echo{}", n % 5), json!({ "n": n })).await;
    }
    let query = "{ jobs(first: 50) { totalCount nodes { id input output lastEvent
        tool { name version inputSchema } } } }";
    let listed = app
        .ask(query, json!({}))
        .instrument(tracing::info_span!("counted"))
        .await;
    assert_eq!(listed["jobs"]["totalCount"], 50);
    let nodes = listed["jobs"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 50);
    assert_eq!(nodes[0]["output"], json!({ "n": 49 }));
    assert_eq!(nodes[0]["tool"]["name"], "echo4");
    let sent = statements.0.lock().unwrap().clone();
    // The page, its total, and the tools of all fifty. None at all would mean that nothing counts.
    assert_eq!(sent.len(), 3, "{sent:#?}");
    app.stop().await;
}
