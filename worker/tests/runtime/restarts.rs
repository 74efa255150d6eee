//! Nodes that die.

use std::time::{Duration, Instant};

use serde_json::json;
use toolroom_domain::{job::Status, tool::PolicyOverrides};

use crate::support::{World, behaves, for_now, native};

/// Well under the 30 s that a lease lasts.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_restart_in_the_middle_of_a_back_off_changes_nothing() {
    let policy = PolicyOverrides {
        initial_delay_ms: Some(3_000),
        jitter: Some(false),
        ..PolicyOverrides::default()
    };
    let behaviour = behaves(async |_, call| match call {
        1 => Err(for_now()),
        _ => Ok(json!("done")),
    });
    let world = World::of(native("test"), policy, behaviour).await;
    let node = world.node("n").await;
    let id = world.submit().await;
    world.until(id, |job| job.failures() == 1).await;
    node.kill();
    let _again = world.node("n").await;
    let job = world.ended(id).await;
    assert_eq!(job.status(), Status::Succeeded);
    assert_eq!(job.attempts().len(), 2);
    let (first, second) = (&job.attempts()[0], &job.attempts()[1]);
    let pause = second.started_at.duration_since(first.finished_at.unwrap());
    assert!(pause.as_millis() >= 3_000, "{pause:?}");
}

#[tokio::test]
async fn another_node_takes_up_what_waits_for_its_next_attempt() {
    let world = World::with(behaves(async |_, call| match call {
        1 => Err(for_now()),
        _ => Ok(json!("done")),
    }))
    .await;
    let first = world.node("first").await;
    let id = world.submit().await;
    world.until(id, |job| job.failures() == 1).await;
    first.kill();
    let _second = world.node("second").await;
    assert_eq!(world.ended(id).await.status(), Status::Succeeded);
}

#[tokio::test]
async fn a_node_that_starts_again_takes_up_at_once_what_its_former_self_held() {
    let world = World::with(behaves(async |_, call| match call {
        1 => std::future::pending().await,
        _ => Ok(json!("done")),
    }))
    .await;
    let node = world.node("n").await;
    let id = world.submit().await;
    world.called(1).await;
    node.kill();
    let killed = Instant::now();
    let _again = world.node("n").await;
    let job = world.ended(id).await;
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    assert_eq!(job.status(), Status::Succeeded);
    let lost = &job.attempts()[0];
    assert_eq!(lost.error.as_ref().unwrap().code, "NODE_LOST");
    assert!(lost.finished_at.is_some());
}

#[tokio::test]
async fn a_namesake_of_a_living_node_takes_nothing_from_it() {
    let world = World::with(behaves(async |_, _| std::future::pending().await)).await;
    let _node = world.node("n").await;
    let id = world.submit().await;
    world.called(1).await;
    world.queue_has("running").await;
    let _namesake = world.node("n").await;
    // It finds no name to take in its first two seconds, and takes jobs then; one of these it runs.
    let other = world.submit().await;
    world.called(2).await;
    world.until(other, |job| job.attempt() == 1).await;
    let job = world.job(id).await;
    assert_eq!((job.status(), job.attempts().len()), (Status::Running, 1));
}
