//! The queue as its events tell it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sqlx::{Connection as _, PgConnection, Row as _};
use toolroom_domain::{
    ErrorCategory, JobId, Sealed, ToolId, WorkspaceId,
    job::{Event, Failure, ToolRef},
    tool::Kind,
};
use toolroom_eventlog::{RecordedEvent, testing::TestDatabase};

use super::Queue;
use crate::projection::{Projection as _, Tables};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn job(n: u128) -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(n))
}

fn sealed() -> Sealed {
    Sealed {
        key: 1,
        data: String::new(),
        blob: None,
    }
}

fn requested(n: u128, priority: i32) -> (u128, Event) {
    let event = Event::Requested {
        id: job(n),
        workspace: WorkspaceId::DEFAULT,
        tool: ToolRef {
            id: ToolId::from_uuid(uuid::Uuid::from_u128(7)),
            version: 1,
            kind: Kind::Native,
            connector: None,
        },
        action: None,
        input: sealed(),
        is_test: false,
        priority,
        run_at: None,
        rerun_of: None,
        recorded: false,
        at: AT,
    };
    (n, event)
}

fn started(n: u128, attempt: u32) -> (u128, Event) {
    let event = Event::Started {
        attempt,
        node: "n".to_owned(),
        lease_ms: 30_000,
        at: AT,
    };
    (n, event)
}

fn failed(n: u128, attempt: u32) -> (u128, Event) {
    let error = Failure {
        code: "TOOL_FAILED".to_owned(),
        category: ErrorCategory::Unknown,
        message: "no".to_owned(),
        retryable: true,
        details: None,
    };
    let event = Event::Failed {
        attempt,
        error,
        duration_us: 1,
        exit_code: None,
        at: AT,
    };
    (n, event)
}

/// An attempt that failed and is to be repeated.
fn failed_for_now(n: u128, attempt: u32) -> (u128, Event) {
    let (_, event) = failed(n, attempt);
    let Event::Failed { error, .. } = event else {
        unreachable!()
    };
    let event = Event::AttemptFailed {
        attempt,
        error,
        duration_us: 1,
        exit_code: None,
        at: AT,
    };
    (n, event)
}

fn retry(n: u128, attempt: u32) -> (u128, Event) {
    retry_by(n, attempt, AT)
}

/// In a minute, by a node whose clock says this.
fn retry_by(n: u128, attempt: u32, at: Timestamp) -> (u128, Event) {
    let event = Event::RetryScheduled {
        attempt,
        run_at: at + SignedDuration::from_secs(60),
        at,
    };
    (n, event)
}

/// A queue that is told of events, batch by batch.
struct Told {
    queue: Queue,
    tx: PgConnection,
    position: i64,
    sequences: HashMap<u128, i64>,
    _database: TestDatabase,
}

impl Told {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let mut tx = PgConnection::connect_with(&database.connect_options())
            .await
            .unwrap();
        let queue = Queue::default();
        for statement in queue.create(&Tables::serving(1)) {
            sqlx::query(&statement).execute(&mut tx).await.unwrap();
        }
        Self {
            queue,
            tx,
            position: 0,
            sequences: HashMap::new(),
            _database: database,
        }
    }

    async fn batch(&mut self, events: impl IntoIterator<Item = (u128, Event)>) {
        let mut batch = Vec::new();
        for (n, event) in events {
            self.position += 1;
            let sequence = self.sequences.entry(n).or_default();
            *sequence += 1;
            let event = RecordedEvent {
                position: self.position,
                logged_at: AT,
                hash: [0; 32],
                aggregate_type: "job".to_owned(),
                aggregate_id: job(n).to_string(),
                sequence: *sequence,
                event_type: toolroom_eventlog::DomainEvent::event_type(&event),
                event_version: "1.0".to_owned(),
                payload: serde_json::to_string(&event).unwrap(),
                metadata: format!("{{\"workspace_id\": \"{}\"}}", WorkspaceId::DEFAULT),
                global_seq: self.position,
                recorded_at: AT,
                workspace_id: WorkspaceId::DEFAULT.to_string(),
            };
            sqlx::query(
                "insert into events (aggregate_type, aggregate_id, sequence, event_type,
                                     event_version, payload, metadata)
                 values ($1, $2, $3, $4, $5, $6::json, $7::json)",
            )
            .bind(&event.aggregate_type)
            .bind(&event.aggregate_id)
            .bind(event.sequence)
            .bind(&event.event_type)
            .bind(&event.event_version)
            .bind(&event.payload)
            .bind(&event.metadata)
            .execute(&mut self.tx)
            .await
            .unwrap();
            batch.push(Arc::new(event));
        }
        let tables = Tables::serving(1);
        self.queue
            .apply(&mut self.tx, &tables, &batch)
            .await
            .unwrap();
    }

    /// Each row as its job's number, priority and position: the order in which they are taken.
    async fn order(&mut self) -> Vec<(u128, i32, i64)> {
        let rows =
            sqlx::query("select job_id, priority, position from projections.queue order by job_id")
                .fetch_all(&mut self.tx)
                .await
                .unwrap();
        rows.iter()
            .map(|row| {
                let id: JobId = row.get::<&str, _>("job_id").parse().unwrap();
                (
                    id.uuid().as_u128(),
                    row.get("priority"),
                    row.get("position"),
                )
            })
            .collect()
    }

    /// Each row as its job's number, attempt, whether it runs, and when it is due, in seconds.
    async fn rows(&mut self) -> Vec<(u128, i32, bool, i64)> {
        let rows = sqlx::query(
            "select job_id, attempt, running, coalesce(extract(epoch from run_at), 0)::bigint as due
             from projections.queue order by job_id",
        )
        .fetch_all(&mut self.tx)
        .await
        .unwrap();
        rows.iter()
            .map(|row| {
                let id: JobId = row.get::<&str, _>("job_id").parse().unwrap();
                (
                    id.uuid().as_u128(),
                    row.get("attempt"),
                    row.get("running"),
                    row.get("due"),
                )
            })
            .collect()
    }
}

#[tokio::test]
async fn a_job_waits_runs_and_leaves() {
    let mut told = Told::new().await;
    told.batch([requested(1, 0)]).await;
    assert_eq!(told.rows().await, [(1, 0, false, 0)]);
    assert!(told.queue.take_pending() && !told.queue.take_pending());
    told.batch([started(1, 1)]).await;
    assert_eq!(told.rows().await, [(1, 1, true, 0)]);
    told.batch([failed(1, 1)]).await;
    assert_eq!(told.rows().await, []);
    told.batch([retry(1, 2)]).await;
    assert_eq!(told.rows().await, [(1, 1, false, 60)]);
}

#[tokio::test]
async fn a_job_that_begins_and_ends_within_a_batch_leaves_no_trace() {
    let mut told = Told::new().await;
    told.batch([
        requested(1, 0),
        started(1, 1),
        failed(1, 1),
        requested(2, 0),
        started(2, 1),
    ])
    .await;
    assert_eq!(told.rows().await, [(2, 1, true, 0)]);
    assert!(!told.queue.take_pending(), "nothing waits");
}

#[tokio::test]
async fn batches_however_cut_leave_the_same() {
    let story = || {
        vec![
            requested(1, 5),
            requested(2, 0),
            started(1, 1),
            failed(1, 1),
            retry(1, 2),
            started(2, 1),
            requested(3, 0),
            started(1, 2),
            failed(2, 1),
        ]
    };
    // When a running job was due is of no more interest, and may differ.
    let without_due = |rows: &[(u128, i32, bool, i64)]| -> Vec<_> {
        rows.iter().map(|r| (r.0, r.1, r.2)).collect()
    };
    for cut in 0..story().len() {
        let mut told = Told::new().await;
        let mut events = story();
        let rest = events.split_off(cut);
        told.batch(events).await;
        told.batch(rest).await;
        let rows = told.rows().await;
        assert_eq!(
            without_due(&rows),
            [(1, 2, true), (3, 0, false)],
            "cut at {cut}"
        );
        // The retried one keeps its priority and goes to the end of its line.
        assert_eq!(told.order().await, [(1, 5, 5), (3, 0, 7)], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_job_that_is_retried_and_ends_within_a_batch_leaves_no_trace() {
    let mut told = Told::new().await;
    told.batch([requested(1, 0), started(1, 1)]).await;
    assert_eq!(told.rows().await, [(1, 1, true, 0)]);
    told.batch([failed(1, 1), retry(1, 2), started(1, 2), failed(1, 2)])
        .await;
    assert_eq!(told.rows().await, []);
}

#[tokio::test]
async fn a_job_waits_for_its_next_attempt_with_or_without_a_row_in_the_batch() {
    let story = || {
        [
            requested(1, 5),
            requested(2, 0),
            started(1, 1),
            failed_for_now(1, 1),
            retry(1, 2),
        ]
    };
    for cut in 0..=story().len() {
        let mut told = Told::new().await;
        let (events, rest) = (story(), story());
        told.batch(events.into_iter().take(cut)).await;
        told.batch(rest.into_iter().skip(cut)).await;
        let rows = told.rows().await;
        assert_eq!(rows, [(1, 1, false, 60), (2, 0, false, 0)], "cut at {cut}");
        assert_eq!(told.order().await, [(1, 5, 5), (2, 0, 2)], "cut at {cut}");
    }
}

#[tokio::test]
async fn when_a_retry_is_due_hangs_on_no_nodes_clock() {
    let hour = SignedDuration::from_hours(1);
    for clock in [AT - hour, AT + hour] {
        let mut told = Told::new().await;
        told.batch([requested(1, 0), started(1, 1)]).await;
        told.batch([failed_for_now(1, 1), retry_by(1, 2, clock)])
            .await;
        assert_eq!(told.rows().await, [(1, 1, false, 60)], "clock at {clock}");
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_waits_leaves() {
    let mut told = Told::new().await;
    told.batch([requested(1, 0), started(1, 1)]).await;
    let cancelled = Event::Cancelled {
        reason: None,
        at: AT,
    };
    told.batch([failed_for_now(1, 1), retry(1, 2), (1, cancelled)])
        .await;
    assert_eq!(told.rows().await, []);
}
