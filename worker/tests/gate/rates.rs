//! Calls that wait for their moment, on several nodes.

use std::time::Duration;

use tokio::time::Instant;
use toolroom_domain::{ErrorCategory, ErrorCode};
use toolroom_worker::{
    executor::{Announced, Pacing as _},
    gate::{Ask, Settled, Steps},
};

use crate::support::{Bench, HandClock, tool, workspace};

/// Five of `QUICK` may leave within this.
const WINDOW: Duration = Duration::from_millis(400);

#[tokio::test]
async fn two_nodes_keep_one_rate_and_the_calls_wait_for_it() {
    let bench = Bench::start().await;
    let (a, b) = (bench.node(None), bench.node(None));
    let begun = Instant::now();
    let calls = (0..12).map(|n| {
        let node = if n % 2 == 0 { &a } else { &b };
        async move {
            let pass = node.ask(1, "QUICK", Duration::from_secs(10)).await.unwrap();
            let left = begun.elapsed();
            pass.settle(Settled::default()).await;
            left
        }
    });
    let mut left = futures::future::join_all(calls).await;
    left.sort_unstable();
    assert!(left[5] >= WINDOW && left[10] >= 2 * WINDOW, "{left:?}");
    let lines: Vec<_> = a.lines().into_iter().chain(b.lines()).collect();
    assert_eq!(lines.len(), 7);
    for line in lines {
        assert!(
            line.starts_with("waits 0.") && line.ends_with(" s for the rate limit of quick"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn who_cannot_wait_is_told_when_to_come_again() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        let pass = node.ask(1, "QUICK", Duration::ZERO).await.unwrap();
        pass.settle(Settled::default()).await;
    }
    for other in [&node, &bench.node(Some(&clock))] {
        let denied = other
            .ask(1, "QUICK", Duration::from_millis(399))
            .await
            .unwrap_err();
        assert_eq!(denied.code, ErrorCode::RateLimitExceeded);
        assert_eq!(denied.category, ErrorCategory::RateLimit);
        assert_eq!(denied.retry_after, WINDOW);
    }
    assert_eq!(
        node.gate.rooms().tools,
        [(tool(1), 5)],
        "soon there is room"
    );
    clock.pass(WINDOW);
    assert!(node.ask(1, "QUICK", Duration::ZERO).await.is_ok());
    assert!(
        node.ask(2, "QUICK", Duration::ZERO).await.is_ok(),
        "each tool has its own"
    );
}

#[tokio::test]
async fn who_goes_away_while_waiting_leaves_the_moment_to_the_next() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    for _ in 0..5 {
        let pass = node.ask(1, "QUICK", Duration::ZERO).await.unwrap();
        pass.settle(Settled::default()).await;
    }
    let reserved = async || -> i64 {
        sqlx::query_scalar(
            "select jsonb_array_length(pace->'departures')::bigint from operational.gates",
        )
        .fetch_one(&bench.owner)
        .await
        .unwrap()
    };
    {
        let waiting = node.ask(1, "QUICK", Duration::from_secs(10));
        let mut waiting = std::pin::pin!(waiting);
        let gone = async {
            while reserved().await < 6 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = gone => {}
            _ = &mut waiting => panic!("it has to wait"),
        }
    }
    while reserved().await > 5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_the_other_side_announces_holds_on_all_nodes() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let (a, b) = (bench.node(Some(&clock)), bench.node(Some(&clock)));
    let pass = a.ask_now(1).await.unwrap();
    let refused = Settled {
        failed: Some((ErrorCode::ToolFailed, ErrorCategory::RateLimit)),
        announced: Announced {
            retry_after: Some(Duration::from_secs(30)),
            ..Announced::default()
        },
        ..Settled::default()
    };
    pass.settle(refused).await;
    b.gate.look().await.unwrap();
    for node in [&a, &b] {
        let denied = node.ask_now(1).await.unwrap_err();
        assert_eq!(denied.code, ErrorCode::RateLimitExceeded);
        assert_eq!(denied.retry_after, Duration::from_secs(30));
        assert_eq!(node.gate.rooms().tools, [(tool(1), 0)]);
    }
    clock.pass(Duration::from_secs(30));
    let pass = b.ask_now(1).await.unwrap();
    let few = Settled {
        announced: Announced {
            remaining: Some(1),
            reset_after: Some(Duration::from_secs(10)),
            retry_after: None,
        },
        ..Settled::default()
    };
    pass.settle(few).await;
    a.gate.look().await.unwrap();
    let last = a.ask_now(1).await.unwrap();
    last.settle(Settled::default()).await;
    let denied = b.ask_now(1).await.unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_secs(10));
}

#[tokio::test]
async fn each_request_of_a_run_counts_and_waits_for_its_turn() {
    let bench = Bench::start().await;
    let node = bench.node(None);
    let begun = Instant::now();
    let pass = node.ask(1, "QUICK", Duration::ZERO).await.unwrap();
    let tell = |line| node.told.lock().unwrap().push(line);
    let ask = Ask {
        workspace: workspace(1),
        tool: tool(1),
        tool_type: "QUICK",
        timeout: Duration::from_secs(30),
        // Whoever waits for the job may have gone: what was begun is ended.
        deadline: Instant::now(),
        since: None,
        is_trial: false,
        tell: &tell,
    };
    let announced = Announced::default;
    let steps = Steps::new(&node.gate, &ask, &announced);
    assert!(!steps.any());
    for _ in 0..11 {
        steps.next_request().await.unwrap();
    }
    assert!(steps.any());
    assert!(begun.elapsed() >= 2 * WINDOW, "{:?}", begun.elapsed());
    let lines = node.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("for the rate limit of quick")),
        "{lines:?}"
    );
    pass.settle(Settled::default()).await;
}

#[tokio::test]
async fn what_one_request_of_a_run_hears_holds_the_next_one_back() {
    let bench = Bench::start().await;
    let clock = HandClock::new();
    let node = bench.node(Some(&clock));
    let pass = node.ask_now(1).await.unwrap();
    let tell = |_| {};
    let ask = Ask {
        workspace: workspace(1),
        tool: tool(1),
        tool_type: "REST",
        timeout: Duration::from_secs(30),
        deadline: Instant::now(),
        since: None,
        is_trial: false,
        tell: &tell,
    };
    let announced = || Announced {
        remaining: Some(0),
        reset_after: Some(Duration::from_secs(900)),
        retry_after: None,
    };
    let steps = Steps::new(&node.gate, &ask, &announced);
    steps.next_request().await.unwrap();
    let refused = steps.next_request().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(900)));
    assert!(refused.retryable);
    pass.settle(Settled::default()).await;
}
