//! Runs by the hour and the day.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::JoinSet;
use toolroom_api::{ApiError, limit::Limits};
use toolroom_domain::{Clock, ErrorCode, WorkspaceId, workspace::Plan};

use toolroom_eventlog::SystemClock;
use toolroom_projections::ProjectionState;

use crate::support::{App, HandClock, PATIENCE, Planned};

const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

const HOUR: Duration = Duration::from_secs(3_600);

fn node(app: &App, plan: &Planned, clock: &(impl Clock + Clone)) -> Limits {
    Limits::by_one_clock(
        app.state.log.clone(),
        app.state.projections.clone(),
        Arc::new(plan.clone()),
        Arc::new(clock.clone()),
    )
}

/// Has nodes asked for runs by several callers at a time each, until each is refused; how many were
/// granted, and why no more.
async fn exhaust(nodes: &[Limits]) -> (u32, ApiError) {
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        for node in nodes {
            let node = node.clone();
            callers.spawn(async move {
                let mut granted = 0;
                loop {
                    match node.reserve(WORKSPACE).await {
                        Ok(_) => granted += 1,
                        Err(refused) => return (granted, refused),
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    let ended = callers.join_all().await;
    let refused = ended[0].1.clone();
    (ended.into_iter().map(|(granted, _)| granted).sum(), refused)
}

#[track_caller]
fn assert_within_a_tenth(granted: u32, limit: u32) {
    assert!(
        granted <= limit && granted * 10 >= limit * 9,
        "{granted} of {limit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_together_grant_what_the_plan_grants() {
    let app = App::start().await;
    for (plan, limit) in [
        (Plan::Free, 100),
        (Plan::Pro, 1_000),
        (Plan::Enterprise, 10_000),
    ] {
        // Each plan in an hour of its own.
        let clock = HandClock::at(&format!("2026-11-21T{:02}:30:00Z", limit.to_string().len()));
        let planned = Planned::of(plan);
        let nodes = [node(&app, &planned, &clock), node(&app, &planned, &clock)];
        let (granted, refused) = exhaust(&nodes).await;
        assert_within_a_tenth(granted, limit);
        assert_eq!(refused.code, ErrorCode::QuotaExceeded);
        assert_eq!(refused.retry_after_ms, Some(1_800_000));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_hour_grants_anew_until_the_day_is_used_up() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T08:59:00Z");
    let planned = Planned::of(Plan::Free);
    let nodes = [node(&app, &planned, &clock), node(&app, &planned, &clock)];
    let mut of_the_day = 0;
    for _ in 8..18 {
        let (granted, _) = exhaust(&nodes).await;
        assert_within_a_tenth(granted, 100);
        of_the_day += granted;
        clock.pass(HOUR);
    }
    // What was in hand at the end of each hour counts as used on that day.
    let (granted, refused) = exhaust(&nodes).await;
    of_the_day += granted;
    assert_within_a_tenth(of_the_day, 1_000);
    clock.pass(HOUR);
    let (granted, refused_later) = exhaust(&nodes).await;
    of_the_day += granted;
    assert_within_a_tenth(of_the_day, 1_000);
    let until_midnight = |refused: &ApiError| refused.retry_after_ms.unwrap() / 60_000;
    // 18:59 and 19:59, unless a few were left for the hour after.
    assert!(matches!(until_midnight(&refused), 301 | 1), "{refused:?}");
    assert_eq!(until_midnight(&refused_later), 241, "{refused_later:?}");
    clock.pass(5 * HOUR);
    let (granted, _) = exhaust(&nodes).await;
    assert_within_a_tenth(granted, 100);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_raised_grants_more_at_once() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let planned = Planned::of(Plan::Free);
    let nodes = [node(&app, &planned, &clock)];
    assert_within_a_tenth(exhaust(&nodes).await.0, 100);
    planned.becomes(Plan::Pro);
    // A refusal is believed for a second.
    clock.pass(Duration::from_secs(1));
    let (granted, _) = exhaust(&nodes).await;
    assert_within_a_tenth(granted + 100, 1_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_is_granted_again_by_any_node() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let planned = Planned::of(Plan::Pro);
    let first = node(&app, &planned, &clock);
    for _ in 0..3 {
        first.reserve(WORKSPACE).await.unwrap().give_back();
    }
    // Nothing was used, so a stop leaves all of it to the others.
    first.give_back().await;
    let (granted, _) = exhaust(&[node(&app, &planned, &clock)]).await;
    assert!((995..=1_000).contains(&granted), "{granted}");
    app.stop().await;
}

/// Runs that were asked for are counted by the log, whatever is lost of the rows that nodes share.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_rebuilds_forget_no_run() {
    const RUNS: u32 = 30;
    let app = App::start().await;
    let planned = Planned::of(Plan::Free);
    app.register("say").await;
    let hour = || SystemClock.now().as_second() / 3_600;
    let begun = hour();
    for n in 0..RUNS {
        app.run("say", json!({ "n": n })).await;
    }
    let granted_anew = async || {
        sqlx::query("delete from operational.quotas")
            .execute(&app.owner().await)
            .await
            .unwrap();
        exhaust(&[node(&app, &planned, &SystemClock)]).await.0
    };
    let first = granted_anew().await;
    let reader = &app.state.projections;
    reader.rebuild("usage", None).await.unwrap();
    app.until(async || {
        let all = reader.status().await.unwrap();
        let usage = all.iter().find(|status| status.name == "usage").unwrap();
        usage.state == ProjectionState::Running
    })
    .await;
    let after_rebuild = granted_anew().await;
    // A node that comes to a row that is there takes what is left of it, which is nothing.
    let (after_restart, _) = exhaust(&[node(&app, &planned, &SystemClock)]).await;
    let used = node(&app, &planned, &SystemClock)
        .quota(WORKSPACE)
        .await
        .unwrap();
    // In a new hour nothing of this holds, and the next run of the test will see to it.
    if hour() == begun {
        assert_within_a_tenth(first + RUNS, 100);
        assert_eq!(after_rebuild, first);
        assert!(after_restart <= 1, "{after_restart}");
        assert_eq!((used.hourly_used, used.hourly_limit), (30, Some(100)));
        assert!(used.daily_used >= 30 && used.daily_limit == Some(1_000));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_is_granted_and_nobody_is_said_to_ask_too_much() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let node = node(&app, &Planned::of(Plan::Free), &clock);
    // What rows are shared over; the log goes on.
    app.state.log.database.authenticator_pool().close().await;
    let refused = tokio::time::timeout(PATIENCE, node.reserve(WORKSPACE)).await;
    let refused = refused.unwrap().err().unwrap();
    assert_eq!(refused.code, ErrorCode::ServiceUnavailable);
    let admission = tokio::time::timeout(PATIENCE, node.admit(WORKSPACE, None)).await;
    assert!(admission.unwrap().refused.is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_plan_is_not_limited() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let node = node(&app, &Planned::unknown(), &clock);
    for _ in 0..300 {
        assert!(node.reserve(WORKSPACE).await.is_ok());
        assert!(node.admit(WORKSPACE, None).await.refused.is_none());
    }
    assert_eq!(node.quota(WORKSPACE).await.unwrap().hourly_limit, None);
    app.stop().await;
}
