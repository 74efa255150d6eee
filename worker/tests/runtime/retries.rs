//! What fails for now is tried again.

use serde_json::json;
use toolroom_domain::{ErrorCategory, ErrorCode, job::Status, tool::PolicyOverrides};
use toolroom_worker::executor::CallError;

use crate::support::{PATIENCE, World, behaves, for_now, native};

#[tokio::test]
async fn a_caller_waits_through_the_retries_to_the_end() {
    let world = World::with(behaves(async |_, call| match call {
        3 => Ok(json!("at last")),
        _ => Err(for_now()),
    }))
    .await;
    let node = world.node("n").await;
    let outcome = node.run(world.request(), PATIENCE).await;
    assert_eq!(outcome.job.status(), Status::Succeeded);
    let attempts = outcome.job.attempts();
    assert_eq!(attempts.len(), 3);
    for failed in &attempts[..2] {
        assert_eq!(
            failed.error.as_ref().unwrap().category,
            ErrorCategory::RateLimit
        );
        assert!(failed.finished_at.is_some());
    }
    let again = ["AttemptFailed", "RetryScheduled", "Started"];
    let expected = [
        &["Requested", "Started"][..],
        &again,
        &again,
        &["Succeeded"],
    ]
    .concat();
    let mut events = world.events(outcome.job.id().unwrap()).await;
    // how long it waited in the queue may be told too
    events.retain(|event| event != "LinesWritten");
    assert_eq!(events, expected);
}

#[tokio::test]
async fn a_job_is_attempted_as_often_as_its_policy_says_and_no_longer() {
    let world = World::with(behaves(async |_, _| Err(for_now()))).await;
    let _node = world.node("n").await;
    let id = world.submit().await;
    let job = world.ended(id).await;
    assert_eq!(job.status(), Status::Failed);
    assert_eq!(job.attempts().len(), 3);
    assert!(job.error().unwrap().retryable, "by hand it can be");
}

#[tokio::test]
async fn what_has_only_waited_for_the_rate_is_none_of_the_policys_attempts() {
    let policy = PolicyOverrides {
        max_attempts: Some(1),
        initial_delay_ms: Some(20),
        ..PolicyOverrides::default()
    };
    let kept_back = behaves(async |_, call| match call {
        1..=4 => Err(CallError {
            code: ErrorCode::RateLimitExceeded,
            ..for_now()
        }),
        _ => Ok(json!("at last")),
    });
    let world = World::of(native("test"), policy, kept_back).await;
    let _node = world.node("n").await;
    let id = world.submit().await;
    let job = world.ended(id).await;
    assert_eq!(job.status(), Status::Succeeded, "{:?}", job.error());
    assert_eq!(job.attempts().len(), 5, "of which the policy grants one");
}

#[tokio::test]
async fn what_no_repetition_mends_is_not_repeated() {
    let world = World::with(behaves(async |_, _| {
        Err(CallError::failed(
            ErrorCategory::Authentication,
            "the token is wrong",
        ))
    }))
    .await;
    let node = world.node("n").await;
    let outcome = node.run(world.request(), PATIENCE).await;
    assert_eq!(outcome.job.status(), Status::Failed);
    assert_eq!(outcome.job.attempts().len(), 1);
}

#[tokio::test]
async fn the_other_side_is_given_the_time_that_it_asks_for() {
    const ASKED_MS: u64 = 700;
    let world = World::with(behaves(async |_, call| match call {
        1 => Err(CallError {
            retry_after: Some(std::time::Duration::from_millis(ASKED_MS)),
            ..for_now()
        }),
        _ => Ok(json!(null)),
    }))
    .await;
    let node = world.node("n").await;
    let job = node.run(world.request(), PATIENCE).await.job;
    assert_eq!(job.status(), Status::Succeeded);
    let (first, second) = (&job.attempts()[0], &job.attempts()[1]);
    let pause = second.started_at.duration_since(first.finished_at.unwrap());
    assert!(pause.as_millis() >= i128::from(ASKED_MS), "{pause:?}");
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_waits_is_not_run_again_and_its_caller_is_told() {
    let policy = PolicyOverrides {
        initial_delay_ms: Some(3_600_000),
        max_delay_ms: Some(3_600_000),
        ..PolicyOverrides::default()
    };
    let failing = behaves(async |_, _| Err(for_now()));
    let world = World::of(native("test"), policy, failing).await;
    let node = world.node("n").await;
    let request = world.request();
    let id = request.job;
    let cancelling = async {
        // the caller may ask before the job is there
        while world
            .log
            .bus
            .load::<toolroom_domain::job::Job>(crate::support::WORKSPACE, &id.to_string())
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
        world.until(id, |job| job.status() == Status::Pending).await;
        world.cancel(id).await;
    };
    let (outcome, ()) = tokio::join!(node.run(request, PATIENCE), cancelling);
    assert_eq!(outcome.job.status(), Status::Cancelled);
    assert_eq!(world.job(id).await.attempts().len(), 1);
}

#[tokio::test]
async fn a_caller_that_does_not_wait_so_long_is_given_the_job_as_it_is() {
    let policy = PolicyOverrides {
        initial_delay_ms: Some(3_600_000),
        max_delay_ms: Some(3_600_000),
        ..PolicyOverrides::default()
    };
    let failing = behaves(async |_, _| Err(for_now()));
    let world = World::of(native("test"), policy, failing).await;
    let node = world.node("n").await;
    let wait = std::time::Duration::from_millis(300);
    let outcome = node.run(world.request(), wait).await;
    assert_eq!(outcome.job.status(), Status::Pending);
}

#[tokio::test]
async fn a_caller_is_answered_before_a_node_that_stops_closes_its_connection() {
    let world = World::with(behaves(async |_, _| std::future::pending().await)).await;
    let node = world.node("n").await;
    let stopping = async {
        world.called(1).await;
        node.begin_to_stop();
    };
    let (outcome, ()) = tokio::join!(node.run(world.request(), PATIENCE), stopping);
    assert_eq!(outcome.job.status(), Status::Running);
}
