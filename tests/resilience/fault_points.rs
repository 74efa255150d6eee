//! A node is killed at each event of a job: before the event is durable, and after. Whichever it is,
//! the job ends as if nothing had happened, or says that nobody knows.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answering, App, PATIENCE};

/// Makes the append of an event of this type wait in the database until it is let go.
struct Fault {
    owner: PgPool,
    gate: sqlx::pool::PoolConnection<sqlx::Postgres>,
}

/// What becomes of the append that was under way when its node was killed.
#[derive(Clone, Copy, Debug)]
enum Append {
    Lost,
    Written,
}

impl Fault {
    async fn at(app: &App, event_type: &str) -> Self {
        let owner = app.owner().await;
        sqlx::raw_sql(
            "create or replace function fault() returns trigger language plpgsql as $$
             begin
                 perform pg_advisory_xact_lock_shared(4711);
                 return new;
             end
             $$;
             grant execute on function fault to public",
        )
        .execute(&owner)
        .await
        .unwrap();
        let mut gate = owner.acquire().await.unwrap();
        sqlx::query("select pg_advisory_lock(4711)")
            .execute(&mut *gate)
            .await
            .unwrap();
        let sql = format!(
            "create trigger fault after insert on events for each row
             when (new.event_type = '{event_type}') execute function fault()"
        );
        sqlx::query(&sql).execute(&owner).await.unwrap();
        Self { owner, gate }
    }

    /// Waits until an append waits here.
    async fn reached(&self) {
        let waiting = async {
            let sql = "select exists (select from pg_locks
                       where locktype = 'advisory' and objid = 4711 and not granted
                         and database = (select oid from pg_database where datname = current_database()))";
            while !sqlx::query_scalar::<_, bool>(sql)
                .fetch_one(&self.owner)
                .await
                .unwrap()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the event comes");
    }

    /// The node is dead: lets the append go, one way or the other, and others pass.
    async fn lift(mut self, append: Append) {
        if matches!(append, Append::Lost) {
            let sql = "select count(pg_terminate_backend(pid)) from pg_locks
                       where locktype = 'advisory' and objid = 4711 and not granted
                         and database = (select oid from pg_database where datname = current_database())";
            sqlx::query(sql).execute(&self.owner).await.unwrap();
        }
        sqlx::query("select pg_advisory_unlock(4711)")
            .execute(&mut *self.gate)
            .await
            .unwrap();
        // Waits until the append that was let go has ended.
        sqlx::query("drop trigger fault on events")
            .execute(&mut *self.gate)
            .await
            .unwrap();
        drop(self.gate);
        self.owner.close().await;
    }
}

/// A tool that is called by POST, on a node that starts again under its name.
struct Story {
    app: App,
    endpoint: Answering,
}

impl Story {
    /// With the header in which the endpoint takes an idempotency key, if it takes one.
    async fn of(endpoint: Answering, header: Option<&str>) -> Self {
        let options = [
            ("TOOLROOM_EGRESS_ALLOW", "127.0.0.1"),
            ("TOOLROOM_NODE", "node"),
        ];
        let app = App::start_with(&options).await;
        app.register(json!({
            "name": "call",
            "description": "calls an endpoint",
            "policy": {"maxAttempts": 2, "initialDelayMs": 20},
            "external": {
                "endpointUrl": endpoint.url,
                "inputSchema": {"type": "object"},
                "idempotencyHeader": header,
            },
        }))
        .await;
        Self { app, endpoint }
    }

    /// Submits a job, kills the node when it appends an event of this type, and gives the job as
    /// it ends on the node that comes after it.
    async fn killed_at(mut self, event_type: &str, append: Append) -> Ended {
        const SUBMIT: &str =
            "mutation { submitJob(toolName: \"call\", input: {}, commandId: \"once\") { id } }";
        let fault = Fault::at(&self.app, event_type).await;
        let submitting = tokio::spawn({
            let request = self.app.http.post(format!("{}/graphql", self.app.url));
            request.json(&json!({"query": SUBMIT})).send()
        });
        fault.reached().await;
        self.app.kill9().await;
        let _ = submitting.await;
        fault.lift(append).await;
        let again = self.app.another_node().await;
        // Who had no answer asks again; who had one is told the same.
        let job = again.data(SUBMIT, json!({})).await["submitJob"]["id"].clone();
        let id = job.as_str().expect("an id");
        again.ended(id).await;
        let query = "query($id: ID!) { job(id: $id) { status error { code }
            attempts { number error { code } } receipts { idempotencyKey outcome } } }";
        Ended {
            job: again.data(query, json!({"id": id})).await["job"].clone(),
            calls: self.endpoint.calls(),
        }
    }
}

#[derive(Debug)]
struct Ended {
    job: Value,
    calls: usize,
}

impl Ended {
    fn is(&self, status: &str, code: Option<&str>, attempts: usize, calls: usize) {
        let told = self.job["attempts"].as_array().map(Vec::len);
        assert_eq!(self.job["status"], status, "{self:?}");
        assert_eq!(self.job["error"]["code"].as_str(), code, "{self:?}");
        assert_eq!((told, self.calls), (Some(attempts), calls), "{self:?}");
    }
}

async fn answering() -> Answering {
    Answering::with(json!({"ok": true})).await
}

async fn overloaded() -> Answering {
    Answering::with_status(503, json!({"error": "overloaded"})).await
}

#[tokio::test]
async fn before_anything_went_out_the_job_is_run_once() {
    use Append::{Lost, Written};
    for (event, append, attempts) in [
        // One append: the node that takes a job begins it.
        ("JobRequested", Lost, 1),
        ("JobRequested", Written, 2),
        ("JobStarted", Lost, 1),
        ("JobStarted", Written, 2),
        ("JobCallRecorded", Lost, 2),
    ] {
        let story = Story::of(answering().await, None).await;
        let ended = story.killed_at(event, append).await;
        ended.is("COMPLETED", None, attempts, 1);
    }
}

#[tokio::test]
async fn once_it_may_have_gone_out_nobody_sends_it_again() {
    use Append::{Lost, Written};
    const UNKNOWN: Option<&str> = Some("OUTCOME_UNKNOWN");
    // What was to go out is in the log, and whether it went nobody can tell any more.
    let story = Story::of(answering().await, None).await;
    let ended = story.killed_at("JobCallRecorded", Written).await;
    ended.is("FAILED", UNKNOWN, 1, 0);
    assert_eq!(ended.job["receipts"][0]["outcome"], "UNKNOWN");
    let story = Story::of(answering().await, None).await;
    let ended = story.killed_at("JobSucceeded", Lost).await;
    ended.is("FAILED", UNKNOWN, 1, 1);
    let story = Story::of(answering().await, None).await;
    let ended = story.killed_at("JobSucceeded", Written).await;
    ended.is("COMPLETED", None, 1, 1);
}

#[tokio::test]
async fn where_the_other_side_takes_a_key_it_is_sent_again_under_the_same_one() {
    use Append::{Lost, Written};
    for (append, times) in [(Lost, 2), (Written, 1)] {
        let story = Story::of(answering().await, Some("Idempotency-Key")).await;
        let ended = story.killed_at("JobSucceeded", append).await;
        ended.is("COMPLETED", None, times, times);
    }
}

#[tokio::test]
async fn a_failure_that_was_not_written_is_found_out_again() {
    use Append::{Lost, Written};
    const FAILED: Option<&str> = Some("TOOL_FAILED");
    for (event, append, attempts) in [
        // The lost attempt is none of the two that the policy grants.
        ("JobAttemptFailed", Lost, 3),
        ("JobAttemptFailed", Written, 2),
        ("JobRetryScheduled", Lost, 3),
        ("JobRetryScheduled", Written, 2),
        ("JobFailed", Lost, 3),
        ("JobFailed", Written, 2),
    ] {
        let story = Story::of(overloaded().await, Some("Idempotency-Key")).await;
        let ended = story.killed_at(event, append).await;
        ended.is("FAILED", FAILED, attempts, attempts);
    }
}
