//! A node is killed at each event of a job: before the event is durable, and after. Whichever it is,
//! the job ends as if nothing had happened, or says that nobody knows.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answering, App, PATIENCE, answer};

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

/// A tool that calls an endpoint, on a node that starts again under its name.
struct Story {
    app: App,
    endpoint: Answering,
}

impl Story {
    /// Of a tool that is called by POST, with the header in which the endpoint takes an idempotency
    /// key, if it takes one.
    async fn of(endpoint: Answering, header: Option<&str>) -> Self {
        let tool = json!({
            "policy": {"maxAttempts": 2, "initialDelayMs": 20},
            "external": {
                "endpointUrl": endpoint.url,
                "inputSchema": {"type": "object"},
                "idempotencyHeader": header,
            },
        });
        Self::with(endpoint, tool).await
    }

    /// Of a tool that reads by GET, described by this beside its address.
    async fn reading(endpoint: Answering, mut api: Value) -> Self {
        api["base_url"] = json!(endpoint.url);
        let tool = json!({"rest": {"input_schema": {"type": "object"}, "api": api}});
        Self::with(endpoint, tool).await
    }

    async fn with(endpoint: Answering, mut tool: Value) -> Self {
        let options = [
            ("TOOLROOM_EGRESS_ALLOW", "127.0.0.1"),
            ("TOOLROOM_NODE", "node"),
        ];
        let app = App::start_with(&options).await;
        tool["name"] = json!("call");
        tool["description"] = json!("calls an endpoint");
        app.register(tool).await;
        Self { app, endpoint }
    }

    /// Submits a job, kills the node when it appends an event of this type, and gives the job as
    /// it ends on the node that comes after it.
    async fn killed_at(self, event_type: &str, append: Append) -> Ended {
        let submit = "mutation { told: submitJob(toolName: \"call\", input: {}, commandId: \"once\") { id } }";
        self.killed_while(submit, event_type, append).await
    }

    /// Sends a command about a job, kills the node when it appends an event of this type, and gives
    /// the job as it ends on the node that comes after it.
    async fn killed_while(mut self, command: &str, event_type: &str, append: Append) -> Ended {
        let fault = Fault::at(&self.app, event_type).await;
        let sending = tokio::spawn({
            let request = self.app.http.post(format!("{}/graphql", self.app.url));
            request.json(&json!({"query": command})).send()
        });
        fault.reached().await;
        self.app.kill9().await;
        let _ = sending.await;
        fault.lift(append).await;
        let again = self.app.another_node().await;
        // Who had no answer asks again; who had one is told the same.
        let job = again.data(command, json!({})).await["told"]["id"].clone();
        let id = job.as_str().expect("an id");
        again.ended(id).await;
        let query = "query($id: ID!) { job(id: $id) { status error { code }
            attempts { number error { code } } receipts { idempotencyKey outcome } } }";
        let types = "select event_type from events where aggregate_id = $1 order by sequence";
        let owner = again.owner().await;
        Ended {
            job: again.data(query, json!({"id": id})).await["job"].clone(),
            calls: self.endpoint.calls(),
            events: sqlx::query_scalar(types)
                .bind(id)
                .fetch_all(&owner)
                .await
                .unwrap(),
        }
    }
}

#[derive(Debug)]
struct Ended {
    job: Value,
    calls: usize,
    events: Vec<String>,
}

impl Ended {
    fn is(&self, status: &str, code: Option<&str>, attempts: usize, calls: usize) {
        let told = self.job["attempts"].as_array().map(Vec::len);
        assert_eq!(self.job["status"], status, "{self:?}");
        assert_eq!(self.job["error"]["code"].as_str(), code, "{self:?}");
        assert_eq!((told, self.calls), (Some(attempts), calls), "{self:?}");
    }

    fn tells(&self, event_type: &str, times: usize) {
        let told = self.events.iter().filter(|told| *told == event_type);
        assert_eq!(told.count(), times, "{self:?}");
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

#[tokio::test]
async fn no_secret_is_sent_before_it_is_known_who_used_it() {
    // The secret was read; whether that is told of the first attempt, nothing has gone out by it.
    for (append, told) in [(Append::Lost, 1), (Append::Written, 2)] {
        let auth = json!({"auth": {"method": "bearer", "secret_ref": "${TOKEN}"}});
        let story = Story::reading(answering().await, auth).await;
        let create =
            "mutation { createSecret(name: \"TOKEN\", value: \"open-sesame\") { version } }";
        story.app.data(create, json!({})).await;
        let ended = story.killed_at("JobSecretsUsed", append).await;
        ended.is("COMPLETED", None, 2, 1);
        ended.tells("JobSecretsUsed", told);
    }
}

#[tokio::test]
async fn what_is_told_of_a_run_that_was_lost_holds_up_no_other() {
    let pages = json!({"pagination": {
        "type": "cursor", "param": "at", "items": "items", "next": "next",
    }});
    for (append, told) in [(Append::Lost, 1), (Append::Written, 2)] {
        let endpoint = Answering::by(|call| match call {
            1 | 3 => answer(200, "", &json!({"items": [1], "next": "b"})),
            // Until its step is told, and the node is dead.
            2 => String::new(),
            _ => answer(200, "", &json!({"items": [2]})),
        });
        let story = Story::reading(endpoint.await, pages.clone()).await;
        let ended = story.killed_at("JobProgressed", append).await;
        ended.is("COMPLETED", None, 2, 4);
        // The second run is over before its step is worth an event.
        ended.tells("JobProgressed", told - 1);
    }
}

#[tokio::test]
async fn lines_are_written_with_what_they_are_about_or_not_at_all() {
    let first_page = json!({"pagination": {
        "type": "cursor", "param": "at", "items": "items", "next": "next", "max_pages": 1,
    }});
    for (append, times) in [(Append::Lost, 2), (Append::Written, 1)] {
        let body = json!({"items": [1], "next": "b"});
        let story = Story::reading(Answering::with(body).await, first_page.clone()).await;
        let ended = story.killed_at("JobLinesWritten", append).await;
        ended.is("COMPLETED", None, times, times);
        ended.tells("JobLinesWritten", 1);
    }
}

#[tokio::test]
async fn a_cancellation_holds_once_it_is_written_and_can_be_sent_again() {
    for append in [Append::Lost, Append::Written] {
        let story = Story::of(Answering::never().await, Some("Idempotency-Key")).await;
        let id = story.app.submit("call", json!({})).await;
        story.endpoint.called().await;
        let cancel =
            format!("mutation {{ told: cancelJob(id: \"{id}\", commandId: \"c\") {{ id }} }}");
        let ended = story.killed_while(&cancel, "JobCancelled", append).await;
        assert_eq!(ended.job["status"], "CANCELLED", "{ended:?}");
        ended.tells("JobCancelled", 1);
        if matches!(append, Append::Written) {
            assert_eq!(ended.calls, 1, "nobody takes it up again");
        }
    }
}

#[tokio::test]
async fn who_has_a_failed_job_tried_again_has_it_tried_once() {
    for append in [Append::Lost, Append::Written] {
        let endpoint = Answering::with_status(400, json!({"error": "not so"})).await;
        let story = Story::of(endpoint, Some("Idempotency-Key")).await;
        let id = story.app.submit("call", json!({})).await;
        story.app.ended(&id).await;
        let retry =
            format!("mutation {{ told: retryJob(id: \"{id}\", commandId: \"r\") {{ id }} }}");
        let ended = story
            .killed_while(&retry, "JobRetryScheduled", append)
            .await;
        ended.is("FAILED", Some("TOOL_FAILED"), 2, 2);
        ended.tells("JobRetryScheduled", 1);
    }
}
