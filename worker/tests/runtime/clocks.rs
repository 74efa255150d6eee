//! Clocks that are wrong, or set anew.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;
use toolroom_domain::job::Status;

use crate::support::{PATIENCE, World, WrongClock, behaves, for_now};

/// Far under an hour.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_nodes_wrong_clock_delays_nothing() {
    for hours in [-1, 1] {
        let world = World::with(behaves(async |_, call| match call {
            3 => Ok(json!("done")),
            _ => Err(for_now()),
        }))
        .await;
        let clock = WrongClock::by(SignedDuration::from_hours(hours));
        let _node = world.node_at("n", clock).await;
        let begun = Instant::now();
        let id = world.submit().await;
        let job = world.ended(id).await;
        assert_eq!(job.attempts().len(), 3);
        assert!(begun.elapsed() < SOON, "{hours} h: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_in_the_middle_of_a_job_delays_nothing() {
    let clock = WrongClock::by(SignedDuration::ZERO);
    let steps = std::sync::Arc::clone(&clock);
    let world = World::with(behaves(move |_, call| {
        let steps = std::sync::Arc::clone(&steps);
        async move {
            *steps.0.lock().unwrap() = SignedDuration::from_hours(-i64::from(call));
            match call {
                3 => Ok(json!("done")),
                _ => Err(for_now()),
            }
        }
    }))
    .await;
    let node = world.node_at("n", clock).await;
    let begun = Instant::now();
    let job = node.run(world.request(), PATIENCE).await.job;
    assert_eq!(job.status(), Status::Succeeded);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_databases_clock_steps_back_while_a_job_waits_or_its_node_is_dead() {
    // Seen from the queue, a step back is that everything in it is of an hour to come.
    let world = World::with(behaves(async |_, call| match call {
        1 => std::future::pending().await,
        _ => Ok(json!("done")),
    }))
    .await;
    let node = world.node("first").await;
    let running = world.submit().await;
    world.called(1).await;
    world.queue_has("running").await;
    node.kill();
    sqlx::query(
        "update projections.queue
         set lease_until = lease_until + interval '1 hour', since = since + interval '1 hour'",
    )
    .execute(&world.owner)
    .await
    .unwrap();
    toolroom_worker::leasing::lease::anchor(world.log.database.queue_pool())
        .await
        .unwrap();
    let left: f64 = sqlx::query_scalar(
        "select extract(epoch from until - clock_timestamp())::float8 from operational.leases
         where job_id = $1",
    )
    .bind(running.to_string())
    .fetch_one(&world.owner)
    .await
    .unwrap();
    assert!((0.0..=30.0).contains(&left), "{left}");
}
