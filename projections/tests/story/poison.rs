//! Events that a projection cannot apply.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use sqlx::PgConnection;
use toolroom_domain::ToolId;
use toolroom_eventlog::{Database, Feed, RecordedEvent};
use toolroom_projections::{
    ApplyError, PageRequest, Projection, ProjectionState, Reader, RetryError, Tables,
};

use crate::support::{App, PATIENCE, WORKSPACE};

/// Writes each aggregate's sequence numbers down in the order in which they come; while it is
/// broken, the database refuses deactivations.
struct Notebook {
    broken: Arc<AtomicBool>,
}

#[async_trait]
impl Projection for Notebook {
    fn name(&self) -> &'static str {
        "notebook"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["tool"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["notes"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let notes = tables.table("notes");
        vec![format!(
            "create table {notes} (
                 id text primary key, seen text not null, workspace_id text not null)"
        )]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        for event in events {
            if event.event_type == "ToolDeactivated" && self.broken.load(Ordering::SeqCst) {
                sqlx::query("select 1 / 0").execute(&mut *tx).await?;
            }
            let sql = format!(
                "insert into {} as n values ($1, $2, $3)
                 on conflict (id) do update set seen = n.seen || ' ' || excluded.seen",
                tables.table("notes")
            );
            sqlx::query(&sql)
                .bind(&event.aggregate_id)
                .bind(event.sequence.to_string())
                .bind(&event.workspace_id)
                .execute(&mut *tx)
                .await?;
        }
        Ok(())
    }
}

async fn notes(app: &App, tool: ToolId) -> String {
    sqlx::query_scalar("select seen from projections.notes where id = $1")
        .bind(tool.to_string())
        .fetch_one(&app.owner)
        .await
        .unwrap()
}

async fn state(app: &App) -> ProjectionState {
    app.reader().status().await.unwrap()[0].state
}

async fn broken() -> (App, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let notebook = Notebook {
        broken: Arc::clone(&broken),
    };
    (App::with(vec![Arc::new(notebook)]).await, broken)
}

#[tokio::test]
async fn a_poisonous_event_holds_its_own_aggregate_back_and_no_other() {
    let (app, broken) = broken().await;
    let (sick, well) = (app.register("sick").await, app.register("well").await);
    app.settled().await;
    assert_eq!(state(&app).await, ProjectionState::Running);
    for active in [false, true, false] {
        app.toggle(sick, active).await;
    }
    app.settled().await;
    let healthy = app.register("healthy").await;
    app.settled().await;
    assert_eq!(notes(&app, sick).await, "1");
    assert_eq!(notes(&app, well).await, "1");
    assert_eq!(notes(&app, healthy).await, "1");
    assert_eq!(state(&app).await, ProjectionState::Poisoned);
    let id = sick.to_string();
    let holds = app.reader().holds_back(WORKSPACE, "notebook", "tool", &id);
    assert!(holds.await.unwrap());

    let letters = app
        .reader()
        .dead_letters(WORKSPACE, &PageRequest::first(10))
        .await
        .unwrap();
    let [letter] = letters.rows.as_slice() else {
        panic!("one event is poisonous, the others wait behind it: {letters:?}");
    };
    assert_eq!((letter.position, letter.attempts), (3, 1));
    assert_eq!(letter.aggregate_id, sick.to_string());
    assert!(
        letter.error.contains("division by zero"),
        "{}",
        letter.error
    );

    // As long as nothing is mended, a retry changes nothing but the count.
    let still = app
        .reader()
        .retry_dead_letter(WORKSPACE, letter.id, None)
        .await;
    assert!(
        matches!(still, Err(RetryError::StillPoisonous { position: 3, .. })),
        "{still:?}"
    );
    let letters = app
        .reader()
        .dead_letters(WORKSPACE, &PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(letters.rows[0].attempts, 2);

    broken.store(false, Ordering::SeqCst);
    app.reader()
        .retry_dead_letter(WORKSPACE, letter.id, None)
        .await
        .unwrap();
    assert_eq!(notes(&app, sick).await, "1 2 3 4");
    app.toggle(sick, true).await;
    app.settled().await;
    assert_eq!(notes(&app, sick).await, "1 2 3 4 5");
    assert_eq!(state(&app).await, ProjectionState::Running);
    let gone = app
        .reader()
        .retry_dead_letter(WORKSPACE, letter.id, None)
        .await;
    assert!(matches!(gone, Err(RetryError::NotFound)));
    app.stop().await;
}

#[tokio::test]
async fn a_retry_that_stops_halfway_can_be_gone_on_with() {
    let (app, broken) = broken().await;
    let sick = app.register("sick").await;
    for active in [false, true, false] {
        app.toggle(sick, active).await;
    }
    app.settled().await;
    broken.store(false, Ordering::SeqCst);
    sqlx::query(
        "alter table projections.notes add constraint no_fourth check (seen not like '%4')",
    )
    .execute(&app.owner)
    .await
    .unwrap();
    let page = PageRequest::first(10);
    let before = app.reader().dead_letters(WORKSPACE, &page).await.unwrap();
    let id = before.rows[0].id;
    let still = app.reader().retry_dead_letter(WORKSPACE, id, None).await;
    assert!(
        matches!(still, Err(RetryError::StillPoisonous { position: 4, .. })),
        "{still:?}"
    );
    assert_eq!(notes(&app, sick).await, "1 2 3");
    let after = app.reader().dead_letters(WORKSPACE, &page).await.unwrap();
    let [letter] = after.rows.as_slice() else {
        panic!("the letter stands for the event before which the retry stopped: {after:?}");
    };
    assert_eq!((letter.id, letter.position, letter.attempts), (id, 4, 1));
    assert!(letter.error.contains("no_fourth"), "{}", letter.error);

    sqlx::query("alter table projections.notes drop constraint no_fourth")
        .execute(&app.owner)
        .await
        .unwrap();
    let retried = app.reader().retry_dead_letter(WORKSPACE, id, None).await;
    assert_eq!(&retried.unwrap(), letter);
    assert_eq!(notes(&app, sick).await, "1 2 3 4");
    app.stop().await;
}

#[tokio::test]
async fn a_retry_makes_do_with_one_connection() {
    let (app, broken) = broken().await;
    let sick = app.register("sick").await;
    app.toggle(sick, false).await;
    app.settled().await;
    broken.store(false, Ordering::SeqCst);
    // Another node, which has not seen the events: it reads them from the database.
    let mut elsewhere = app.log.clone();
    elsewhere.database = Database::connect_lazy(app.log.database.owner_options().clone());
    elsewhere.feed = Feed::new(elsewhere.database.projector_pool().clone());
    let notebook: Arc<dyn Projection> = Arc::new(Notebook { broken });
    let reader = Reader::new(&elsewhere, vec![notebook]);
    let page = PageRequest::first(1);
    let letters = reader.dead_letters(WORKSPACE, &page).await.unwrap();
    let pool = elsewhere.database.projector_pool();
    let mut taken = Vec::new();
    for _ in 1..pool.options().get_max_connections() {
        taken.push(pool.acquire().await.unwrap());
    }
    let retried = reader.retry_dead_letter(WORKSPACE, letters.rows[0].id, None);
    retried.await.unwrap();
    assert_eq!(notes(&app, sick).await, "1 2");
    drop(taken);
    elsewhere.database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn the_newest_dead_letter_comes_first() {
    let (app, _broken) = broken().await;
    let mut sick = Vec::new();
    for name in ["first", "second", "third"] {
        let tool = app.register(name).await;
        app.toggle(tool, false).await;
        app.settled().await;
        sick.push(tool.to_string());
    }
    sick.reverse();
    let mut page = PageRequest::first(2);
    let mut seen = Vec::new();
    loop {
        let letters = app.reader().dead_letters(WORKSPACE, &page).await.unwrap();
        page.after = letters.rows.last().map(|letter| letter.id);
        seen.extend(letters.rows.into_iter().map(|letter| letter.aggregate_id));
        if !letters.has_next {
            break;
        }
    }
    assert_eq!(seen, sick);
    app.stop().await;
}

#[tokio::test]
async fn a_retry_while_events_pour_in_loses_and_swaps_none() {
    let (app, broken) = broken().await;
    let sick = app.register("sick").await;
    app.toggle(sick, false).await;
    app.settled().await;
    broken.store(false, Ordering::SeqCst);
    let pour = async {
        for round in 0..150 {
            app.toggle(sick, round % 2 == 0).await;
        }
    };
    let retry = async {
        let letters = app
            .reader()
            .dead_letters(WORKSPACE, &PageRequest::first(1))
            .await
            .unwrap();
        app.reader()
            .retry_dead_letter(WORKSPACE, letters.rows[0].id, None)
            .await
            .unwrap();
    };
    tokio::join!(pour, retry);
    app.settled().await;
    let expected: Vec<String> = (1..=152).map(|n| n.to_string()).collect();
    assert_eq!(notes(&app, sick).await, expected.join(" "));
    app.stop().await;
}

#[tokio::test]
async fn what_was_held_back_is_still_held_back_after_a_restart() {
    let (app, broken) = broken().await;
    let sick = app.register("sick").await;
    app.toggle(sick, false).await;
    app.settled().await;
    // Another node, of a mended binary, takes over: later events still wait for the poison.
    broken.store(false, Ordering::SeqCst);
    sqlx::query("update checkpoints set lease_epoch = lease_epoch + 1")
        .execute(&app.owner)
        .await
        .unwrap();
    app.toggle(sick, true).await;
    app.settled().await;
    assert_eq!(notes(&app, sick).await, "1");
    app.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_poison_and_a_rebuild_finds_it_again() {
    let app = App::start().await;
    app.register("well").await;
    let inserted = sqlx::query(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                             payload, metadata)
         select 'tool', 'tool_000000000000000000000000000000aa', 1, 'ToolRegistered', '1.0',
                '{\"type\": \"ToolRegistered\"}', metadata from events limit 1",
    );
    inserted.execute(&app.owner).await.unwrap();
    app.log.signals.announce_append();
    app.register("healthy").await;
    app.settled().await;
    let count = "select count(*) from projections.tools";
    let tools: i64 = sqlx::query_scalar(count)
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(tools, 2);
    let first = app
        .reader()
        .dead_letters(WORKSPACE, &PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(first.rows.len(), 1);
    assert_eq!(first.rows[0].projection, "catalog");

    let stop = tokio_util::sync::CancellationToken::new();
    let all = toolroom_projections::all();
    let rebuilt = toolroom_projections::rebuild_blocking(&app.log, &all, "catalog", &stop, |_| {});
    rebuilt.await.unwrap();
    app.settled().await;
    let again = app
        .reader()
        .dead_letters(WORKSPACE, &PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(again.rows.len(), 1);
    assert_eq!(again.rows[0].projection, "catalog");
    assert_ne!(again.rows[0].id, first.rows[0].id);
    app.stop().await;
}

#[tokio::test]
async fn tables_that_vanish_are_no_poison_and_come_back_from_the_log() {
    let (app, broken) = broken().await;
    broken.store(false, Ordering::SeqCst);
    let tool = app.register("say").await;
    app.settled().await;
    sqlx::query("drop table projections.notes")
        .execute(&app.owner)
        .await
        .unwrap();
    app.toggle(tool, false).await;
    let back = async {
        loop {
            let seen: Result<Option<String>, _> =
                sqlx::query_scalar("select seen from projections.notes where id = $1")
                    .bind(tool.to_string())
                    .fetch_optional(&app.owner)
                    .await;
            if matches!(seen, Ok(Some(seen)) if seen == "1 2") {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    let page = PageRequest::first(1);
    let letters = app.reader().dead_letters(WORKSPACE, &page).await.unwrap();
    assert_eq!(letters.rows, []);
    app.stop().await;
}
