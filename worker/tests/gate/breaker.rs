//! Circuits that several nodes share.

use std::time::Duration;

use toolroom_domain::{Clock as _, ErrorCategory, ErrorCode, tool::Tool};
use toolroom_worker::gate::{Entered, Ground, Proof, Settled};

use crate::support::{Bench, HandClock, failed, tool, workspace};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn failures_on_two_nodes_open_one_circuit_and_two_probes_close_it() {
    let bench = Bench::start().await;
    bench.register(1).await;
    let clock = HandClock::new();
    let (a, b) = (bench.node(Some(&clock)), bench.node(Some(&clock)));
    for _ in 0..2 {
        a.fail(1).await;
        b.fail(1).await;
    }
    a.succeed(2).await;
    a.fail(1).await;
    let denied = a.ask_now(1).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CircuitOpen);
    assert_eq!(denied.retry_after, MINUTE);
    b.gate.look().await.unwrap();
    assert_eq!(b.ask_now(1).await.unwrap_err().code, ErrorCode::CircuitOpen);
    b.succeed(2).await;
    assert_eq!(bench.circuit_events(1, 1).await, ["ToolCircuitOpened"]);

    clock.pass(MINUTE);
    let probe = b.ask_now(1).await.unwrap();
    assert_eq!(probe.entered(), Entered::Probing);
    a.gate.look().await.unwrap();
    let denied = a.ask_now(1).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CircuitOpen, "one at a time");
    probe.settle(Default::default()).await;
    a.gate.look().await.unwrap();
    a.succeed(1).await;
    assert_eq!(a.ask_now(1).await.unwrap().entered(), Entered::Freely);
    b.gate.look().await.unwrap();
    assert_eq!(b.ask_now(1).await.unwrap().entered(), Entered::Freely);
    let told = bench.circuit_events(1, 2).await;
    assert_eq!(told, ["ToolCircuitOpened", "ToolCircuitClosed"]);
    let told = bench
        .log
        .bus
        .load::<Tool>(workspace(1), &tool(1).to_string())
        .await
        .unwrap();
    assert_eq!(told.aggregate.circuit_open_until(), None);
}

#[tokio::test]
async fn a_node_that_does_not_know_yet_finds_out_when_it_probes() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let (a, b) = (bench.node(Some(&clock)), bench.node(Some(&clock)));
    for _ in 0..5 {
        a.fail(1).await;
    }
    b.gate.look().await.unwrap();
    clock.pass(MINUTE);
    // Neither has looked since: both believe that they may probe.
    let probe = a.ask_now(1).await.unwrap();
    assert_eq!(b.ask_now(1).await.unwrap_err().code, ErrorCode::CircuitOpen);
    probe.settle(failed(ErrorCategory::Timeout)).await;
    assert_eq!(a.ask_now(1).await.unwrap_err().retry_after, MINUTE);
    b.gate.look().await.unwrap();
    assert_eq!(b.ask_now(1).await.unwrap_err().retry_after, MINUTE);
}

#[tokio::test]
async fn a_tool_that_works_asks_the_database_nothing() {
    let bench = Bench::start().await;
    let node = bench.node(None);
    for _ in 0..1_000 {
        node.succeed(1).await;
    }
    for category in [ErrorCategory::Validation, ErrorCategory::Authentication] {
        let pass = node.ask_now(1).await.unwrap();
        pass.settle(failed(category)).await;
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from operational.gates")
        .fetch_one(&bench.owner)
        .await
        .unwrap();
    assert_eq!(rows, 0);
    assert_eq!(
        bench.log.database.gate_pool().size(),
        0,
        "not even connected"
    );
}

#[tokio::test]
async fn what_one_node_saw_succeed_counts_when_another_sees_failures() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let (a, b) = (bench.node(Some(&clock)), bench.node(Some(&clock)));
    for _ in 0..30 {
        b.succeed(1).await;
    }
    for n in 0..8 {
        a.fail(1).await;
        // Half of what `a` sees fails, a fifth of all.
        b.gate.look().await.unwrap();
        b.succeed(1).await;
        b.gate.gathered(tool(1)).await;
        assert!(a.ask_now(1).await.is_ok(), "after {n}");
    }
}

#[tokio::test]
async fn who_has_the_time_waits_for_the_circuit_and_says_so() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        node.fail(1).await;
    }
    let patient = node.ask(1, "REST", Duration::from_secs(600));
    let passing = async {
        tokio::task::yield_now().await;
        clock.pass(MINUTE);
    };
    let (pass, ()) = tokio::join!(patient, passing);
    assert_eq!(pass.unwrap().entered(), Entered::Probing);
    let lines = node.lines();
    assert_eq!(
        lines[0],
        "waits 60.0 s for the circuit of the tool, which failed too often of late"
    );
}

#[tokio::test]
async fn a_job_that_was_put_off_says_so_when_it_is_begun() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let mut node = bench.node(Some(&clock));
    for _ in 0..5 {
        node.fail(1).await;
    }
    node.since = Some(clock.now());
    clock.pass(MINUTE);
    for _ in 0..2 {
        node.succeed(1).await;
    }
    node.lines();
    node.succeed(1).await;
    assert_eq!(
        node.lines(),
        [
            "was put off: the tool failed too often and was not called from 2026-11-21T10:00:00Z to 2026-11-21T10:01:00Z"
        ]
    );
    node.since = Some(clock.now());
    node.succeed(1).await;
    assert!(node.lines().is_empty());
}

#[tokio::test]
async fn a_probe_that_is_dropped_makes_room_for_the_next() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        node.fail(1).await;
    }
    clock.pass(MINUTE);
    drop(node.ask_now(1).await.unwrap());
    let next = node.ask(1, "REST", Duration::from_secs(10)).await.unwrap();
    assert_eq!(next.entered(), Entered::Probing);
}

#[tokio::test]
async fn jobs_of_a_broken_tool_stay_in_the_queue_but_for_one_that_probes() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    assert!(node.gate.rooms().tools.is_empty());
    for _ in 0..5 {
        node.fail(1).await;
    }
    assert_eq!(node.gate.rooms().tools, [(tool(1), 0)]);
    clock.pass(MINUTE);
    assert_eq!(node.gate.rooms().tools, [(tool(1), 1)]);
    let place = node
        .gate
        .place(Ground::Back, workspace(1), tool(1))
        .unwrap();
    assert_eq!(node.gate.rooms().tools, [(tool(1), 0)]);
    drop(place);
    // Broken for too long, they are begun and fail.
    clock.pass(60 * MINUTE);
    assert!(node.gate.rooms().tools.is_empty());
}

#[tokio::test]
async fn what_nobody_told_is_told_by_who_looks() {
    let bench = Bench::start().await;
    bench.register(1).await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        node.fail(1).await;
    }
    bench.circuit_events(1, 1).await;
    clock.pass(MINUTE);
    for _ in 0..2 {
        node.succeed(1).await;
    }
    bench.circuit_events(1, 2).await;
    // As if the node had died before it was told, twice over.
    sqlx::query("update operational.gates set told = false")
        .execute(&bench.owner)
        .await
        .unwrap();
    clock.pass(Duration::from_secs(6));
    bench.node(Some(&clock)).gate.look().await.unwrap();
    let told = bench.circuit_events(1, 2).await;
    assert_eq!(told, ["ToolCircuitOpened", "ToolCircuitClosed"]);
}

fn proving(proof: Proof) -> Settled {
    Settled {
        proof,
        ..Settled::default()
    }
}

#[tokio::test]
async fn a_call_that_asked_nobody_ends_no_row_and_closes_nothing() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        for proof in [Proof::Nothing, Proof::Answers] {
            let pass = node.ask_now(1).await.unwrap();
            pass.settle(proving(proof)).await;
        }
        node.fail(1).await;
    }
    assert_eq!(
        node.ask_now(1).await.unwrap_err().code,
        ErrorCode::CircuitOpen
    );
    clock.pass(MINUTE);
    for _ in 0..4 {
        let probe = node.ask_now(1).await.unwrap();
        assert_eq!(probe.entered(), Entered::Probing);
        probe.settle(proving(Proof::Nothing)).await;
    }
    for _ in 0..2 {
        let probe = node.ask_now(1).await.unwrap();
        probe.settle(proving(Proof::Answers)).await;
    }
    assert_eq!(node.ask_now(1).await.unwrap().entered(), Entered::Freely);
}

#[tokio::test]
async fn who_tries_a_broken_tool_need_not_wait_and_is_alone_with_it() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let mut trying = bench.node(Some(&clock));
    let other = bench.node(Some(&clock));
    trying.is_trial = true;
    for _ in 0..5 {
        other.fail(1).await;
    }
    trying.gate.look().await.unwrap();
    clock.pass(MINUTE / 6);
    // Who learns nothing leaves the circuit as it was.
    let trial = trying.ask_now(1).await.unwrap();
    assert_eq!(trial.entered(), Entered::Probing);
    let denied = trying.ask_now(1).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CircuitOpen, "one at a time");
    trial.settle(proving(Proof::Nothing)).await;
    other.gate.look().await.unwrap();
    assert_eq!(
        other.ask_now(1).await.unwrap_err().retry_after,
        MINUTE * 5 / 6
    );
    let trial = trying.ask_now(1).await.unwrap();
    trial.settle(failed(ErrorCategory::Network)).await;
    other.gate.look().await.unwrap();
    assert_eq!(other.ask_now(1).await.unwrap_err().retry_after, MINUTE);
    let trial = trying.ask_now(1).await.unwrap();
    trial.settle(proving(Proof::Answers)).await;
    other.gate.look().await.unwrap();
    let probe = other.ask_now(1).await.unwrap();
    assert_eq!(probe.entered(), Entered::Probing, "the other of two");
    probe.settle(Settled::default()).await;
    assert_eq!(other.ask_now(1).await.unwrap().entered(), Entered::Freely);
}
