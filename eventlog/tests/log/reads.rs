//! Connections that see one workspace: no mixing, whatever is cancelled, and no round trip too many.

use std::time::Duration;

use sqlx::Row as _;
use toolroom_domain::{ToolId, WorkspaceId, tool::Tool};
use toolroom_eventlog::{
    CommandContext, Reads, Scoped,
    append::{Append, AppendError, Appender, NewEvent},
    command::{CommandError, Target},
    database::Database,
    ids,
    signal::Signals,
};
use uuid::Uuid;

use crate::support::{PATIENCE, Started, context, register, registration};

fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(n))
}

/// A log with one tool in each of so many workspaces.
async fn peopled(workspaces: u128) -> Started {
    let app = Started::new().await;
    for n in 1..=workspaces {
        let context = CommandContext {
            workspace: workspace(n),
            ..context()
        };
        register(&app.log, "tool", context).await.unwrap();
    }
    app.reaches(i64::try_from(workspaces).unwrap()).await;
    app
}

/// Whose events a query sees that restricts nothing.
async fn seen(scoped: &mut Scoped) -> Vec<String> {
    sqlx::query_scalar("select distinct workspace_id from events order by 1")
        .fetch_all(scoped.connection())
        .await
        .unwrap()
}

async fn backend(scoped: &mut Scoped) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(scoped.connection())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_query_that_forgets_its_workspace_sees_only_that_one() {
    let app = peopled(3).await;
    for n in 1..=3 {
        let mut scoped = app
            .log
            .database
            .reads()
            .acquire(workspace(n))
            .await
            .unwrap();
        assert_eq!(seen(&mut scoped).await, [workspace(n).to_string()]);
        scoped.give_back();
    }
    let mut nobody = app
        .log
        .database
        .reads()
        .acquire(workspace(9))
        .await
        .unwrap();
    assert!(seen(&mut nobody).await.is_empty());
    drop(nobody);
    app.stop().await;
}

#[tokio::test]
async fn the_same_workspace_again_costs_no_round_trip_more() {
    let app = peopled(2).await;
    let reads = app.log.database.reads();
    let mut first = reads.acquire(workspace(1)).await.unwrap();
    let backend_of_first = backend(&mut first).await;
    first.give_back();
    let before = reads.settings();
    for _ in 0..50 {
        let mut again = reads.acquire(workspace(1)).await.unwrap();
        assert_eq!(backend(&mut again).await, backend_of_first);
        again.give_back();
    }
    assert_eq!(reads.settings(), before, "nothing was set anew");
    let other = reads.acquire(workspace(2)).await.unwrap();
    assert_eq!(reads.settings(), before + 1);
    other.give_back();
    app.stop().await;
}

#[tokio::test]
async fn each_of_two_workspaces_keeps_a_connection_of_its_own() {
    let app = peopled(2).await;
    let reads = app.log.database.reads();
    // Both at once, so that there are two connections.
    let (one, two) = (
        reads.acquire(workspace(1)).await.unwrap(),
        reads.acquire(workspace(2)).await.unwrap(),
    );
    one.give_back();
    two.give_back();
    let before = reads.settings();
    for n in [1, 2, 2, 1, 1, 2] {
        let mut scoped = reads.acquire(workspace(n)).await.unwrap();
        assert_eq!(seen(&mut scoped).await, [workspace(n).to_string()]);
        scoped.give_back();
    }
    assert_eq!(reads.settings(), before);
    app.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_not_given_back_forgets_its_workspace() {
    let app = peopled(2).await;
    let database = Database::connect_lazy_with(app.log.database.owner_options().clone(), 1);
    let reads = database.reads();
    let mut scoped = reads.acquire(workspace(1)).await.unwrap();
    let failed = sqlx::query("select 1 / 0")
        .execute(scoped.connection())
        .await;
    assert!(failed.is_err());
    drop(scoped);
    let before = reads.settings();
    let mut again = reads.acquire(workspace(1)).await.unwrap();
    assert_eq!(seen(&mut again).await, [workspace(1).to_string()]);
    assert_eq!(reads.settings(), before + 1, "it is set again");
    again.give_back();
    database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_connection_whose_server_process_died_is_replaced() {
    let app = peopled(1).await;
    let database = Database::connect_lazy_with(app.log.database.owner_options().clone(), 1);
    let reads = database.reads();
    let mut scoped = reads.acquire(workspace(1)).await.unwrap();
    let gone = backend(&mut scoped).await;
    scoped.give_back();
    sqlx::query("select pg_terminate_backend($1, 10000)")
        .bind(gone)
        .execute(&app.owner)
        .await
        .unwrap();
    // Set to another workspace it is found dead at once, and set to its own after a second.
    let mut scoped = reads.acquire(workspace(2)).await.unwrap();
    assert_ne!(backend(&mut scoped).await, gone);
    drop(scoped);
    database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn who_finds_all_connections_used_is_told_in_time() {
    let app = peopled(1).await;
    let database = Database::connect_lazy_with(app.log.database.owner_options().clone(), 1);
    let held = database.reads().acquire(workspace(1)).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, database.reads().acquire(workspace(1)));
    assert!(matches!(
        refused.await.unwrap(),
        Err(sqlx::Error::PoolTimedOut)
    ));
    held.give_back();
    database
        .reads()
        .acquire(workspace(1))
        .await
        .unwrap()
        .give_back();
    database.close().await;
    app.stop().await;
}

/// One read, cancelled or not, at a point that chance chooses.
async fn read_or_vanish(reads: Reads, n: u128) -> bool {
    let read = async {
        let mut scoped = reads.acquire(workspace(n)).await.unwrap();
        let rows = sqlx::query(
            "select current_setting('toolroom.workspace') as set_to, workspace_id
             from events, pg_sleep(random() * 0.002)",
        )
        .fetch_all(scoped.connection())
        .await
        .unwrap();
        scoped.give_back();
        rows
    };
    let patience = Duration::from_micros(rand::random_range(0..8_000));
    let rows = if rand::random_ratio(1, 2) {
        match tokio::time::timeout(patience, read).await {
            Ok(rows) => rows,
            Err(_) => return false,
        }
    } else {
        read.await
    };
    let own = workspace(n).to_string();
    assert_eq!(rows.len(), 1, "workspace {n} has one event");
    for row in rows {
        assert_eq!(row.get::<String, _>("set_to"), own);
        assert_eq!(row.get::<String, _>("workspace_id"), own);
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_reads_with_cancellations_never_see_another_workspace() {
    let app = peopled(3).await;
    let database = Database::connect_lazy_with(app.log.database.owner_options().clone(), 4);
    let reads = (0..600).map(|i| {
        let reads = database.reads().clone();
        tokio::spawn(read_or_vanish(reads, i % 3 + 1))
    });
    let ended = futures::future::join_all(reads.collect::<Vec<_>>()).await;
    let answered = ended
        .into_iter()
        .filter(|outcome| *outcome.as_ref().unwrap())
        .count();
    assert!(answered > 200, "{answered} of 600 were answered");
    assert!(answered < 600, "some were cancelled");
    database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_all_of_one_workspace_is_not_appended() {
    let app = Started::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (appender, mut tasks) =
        Appender::start(app.log.database.commands_pool(), &Signals::default(), &stop);
    let append = |metadata: &str| Append {
        workspace_id: workspace(1).to_string(),
        aggregate_type: "probe",
        aggregate_id: ids::new_uuid().to_string(),
        command_id: "c".to_owned(),
        events: vec![NewEvent {
            sequence: 1,
            event_type: "Probed".to_owned(),
            event_version: "1.0".to_owned(),
            payload: "{}".to_owned(),
            metadata: metadata.to_owned(),
        }],
        claims: Vec::new(),
        record: None,
        side: Vec::new(),
    };
    let (own, foreign) = (workspace(1), workspace(2));
    for metadata in [
        format!(r#"{{"workspace_id":"{foreign}"}}"#),
        format!(r#"{{"workspace_id":"{own}","workspace_id":"{foreign}"}}"#),
        "{}".to_owned(),
    ] {
        let refused = appender.append(append(&metadata)).await;
        assert!(
            matches!(refused, Err(AppendError::Refused(_))),
            "{metadata}: {refused:?}"
        );
    }
    let own = format!(r#"{{"workspace_id":"{own}"}}"#);
    appender.append(append(&own)).await.unwrap();
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    app.stop().await;
}

#[tokio::test]
async fn a_command_makes_nothing_in_another_workspace_than_its_senders() {
    let app = Started::new().await;
    let id = ToolId::from_uuid(ids::new_uuid());
    let made = app
        .log
        .bus
        .execute(
            Target::<Tool>::New(id.to_string()),
            registration(id, workspace(2), "tool"),
            &context(),
        )
        .await;
    assert!(matches!(made, Err(CommandError::NotFound)), "{made:?}");
    app.stop().await;
}
