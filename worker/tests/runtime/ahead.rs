//! Tools that change nothing: they run ahead of their record.

use std::sync::{Arc, atomic::Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;
use toolroom_domain::{ErrorCategory, job::Status};
use toolroom_worker::executor::CallError;

use crate::support::{Behaviour, PATIENCE, World, behaves, for_now};

fn answers_at_once() -> Behaviour {
    behaves(|_, _| async { Ok(json!("done")) })
}

/// Waits until it is let go.
fn answers_late(let_go: &Arc<Notify>) -> Behaviour {
    let let_go = Arc::clone(let_go);
    behaves(move |_, _| {
        let let_go = Arc::clone(&let_go);
        async move {
            let_go.notified().await;
            Ok(json!("done"))
        }
    })
}

#[tokio::test]
async fn what_ends_at_once_is_one_append() {
    let world = World::pure(answers_at_once()).await;
    let node = world.node("a").await;
    let outcome = node.run(world.request(), PATIENCE).await;
    let id = outcome.job.id().unwrap();
    assert_eq!(outcome.job.status(), Status::Succeeded);
    assert!(outcome.global_seq > 0);
    assert_eq!(
        world.events(id).await,
        ["Requested", "Started", "Succeeded"]
    );
    assert_eq!(world.appends(id).await, 1);
    assert_eq!(outcome.job, world.job(id).await);
}

#[tokio::test]
async fn what_may_change_something_is_started_on_record_first() {
    let world = World::with(answers_at_once()).await;
    let node = world.node("a").await;
    let id = node.run(world.request(), PATIENCE).await.job.id().unwrap();
    assert_eq!(
        world.events(id).await,
        ["Requested", "Started", "Succeeded"]
    );
    assert_eq!(world.appends(id).await, 2);
}

#[tokio::test]
async fn what_takes_its_time_is_seen_to_run_and_runs_once() {
    let let_go = Arc::new(Notify::new());
    let world = World::pure(answers_late(&let_go)).await;
    let id = world.submit().await;
    let _node = world.node("a").await;
    let job = world.until(id, |job| job.status() == Status::Running).await;
    assert_eq!(job.attempt(), 1);
    let_go.notify_one();
    assert_eq!(world.ended(id).await.status(), Status::Succeeded);
    assert_eq!(world.calls.load(Ordering::SeqCst), 1);
    assert_eq!(world.appends(id).await, 3);
}

#[tokio::test]
async fn what_waits_in_the_queue_is_started_and_ended_with_one_append() {
    let world = World::pure(answers_at_once()).await;
    let id = world.submit().await;
    let _node = world.node("a").await;
    assert_eq!(world.ended(id).await.status(), Status::Succeeded);
    assert_eq!(
        world.events(id).await,
        ["Requested", "Started", "Succeeded"]
    );
    assert_eq!(world.appends(id).await, 2);
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again_and_told_as_any_other() {
    let fails_once = behaves(|_, call| async move {
        match call {
            1 => Err(for_now()),
            _ => Ok(Value::Null),
        }
    });
    let world = World::pure(fails_once).await;
    let node = world.node("a").await;
    let outcome = node.run(world.request(), PATIENCE).await;
    let id = outcome.job.id().unwrap();
    assert_eq!(outcome.job.status(), Status::Succeeded);
    let mut events = world.events(id).await;
    events.retain(|event| event != "LinesWritten");
    assert_eq!(
        events,
        [
            "Requested",
            "Started",
            "AttemptFailed",
            "RetryScheduled",
            "Started",
            "Succeeded"
        ]
    );
}

#[tokio::test]
async fn what_fails_for_good_says_why() {
    let fails = behaves(|_, _| async {
        Err(CallError::failed(
            ErrorCategory::Validation,
            "it is too odd",
        ))
    });
    let world = World::pure(fails).await;
    let node = world.node("a").await;
    let outcome = node.run(world.request(), PATIENCE).await;
    assert_eq!(outcome.job.status(), Status::Failed);
    assert_eq!(outcome.job.error().unwrap().message, "it is too odd");
}

#[tokio::test]
async fn a_node_that_dies_over_it_leaves_it_to_another() {
    let let_go = Arc::new(Notify::new());
    let world = World::pure(answers_late(&let_go)).await;
    let id = world.submit().await;
    let first = world.node("a").await;
    world.until(id, |job| job.status() == Status::Running).await;
    first.kill();
    // it comes back under its own name, and so need not wait for the lease to run out
    let _second = world.node("a").await;
    world.until(id, |job| job.attempt() == 2).await;
    let_go.notify_one();
    assert_eq!(world.ended(id).await.status(), Status::Succeeded);
}

#[tokio::test]
async fn an_input_that_cannot_be_opened_costs_an_attempt_and_is_not_claimed_without_end() {
    let world = World::pure(answers_at_once()).await;
    let id = world.submit_sealed_as("output", json!({})).await;
    let _node = world.node("a").await;
    let job = world.until(id, |job| job.attempt() == 1).await;
    assert_eq!(job.status(), Status::Running);
    assert_eq!(world.calls.load(Ordering::SeqCst), 0);
}
