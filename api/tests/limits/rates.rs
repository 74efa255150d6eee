//! Requests by token buckets.

use std::{sync::Arc, time::Duration};

use toolroom_api::limit::{Limits, Standing};
use toolroom_domain::{ApiKeyId, ErrorCode, WorkspaceId, workspace::Plan};
use uuid::Uuid;

use crate::support::{App, HandClock, Planned};

fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(n))
}

fn key(n: u128) -> ApiKeyId {
    ApiKeyId::from_uuid(Uuid::from_u128(n))
}

fn nodes(app: &App, plan: Plan, clock: &HandClock) -> [Limits; 2] {
    [(); 2].map(|()| {
        Limits::by_one_clock(
            app.state.log.clone(),
            app.state.projections.clone(),
            Arc::new(Planned::of(plan)),
            Arc::new(clock.clone()),
        )
    })
}

/// How many of so many requests each of the nodes lets in, together.
async fn hammer(
    nodes: &[Limits],
    workspace: WorkspaceId,
    key: Option<ApiKeyId>,
    requests: u32,
) -> u32 {
    let mut admitted = 0;
    for _ in 0..requests {
        for node in nodes {
            if node.admit(workspace, key).await.refused.is_none() {
                admitted += 1;
            }
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_together_let_in_what_the_plan_grants() {
    let app = App::start().await;
    for (n, plan) in [Plan::Free, Plan::Pro, Plan::Enterprise]
        .into_iter()
        .enumerate()
    {
        let (ours, rate) = (workspace(n as u128 + 1), plan.grants().workspace);
        let clock = HandClock::at("2026-11-21T10:00:00Z");
        let nodes = nodes(&app, plan, &clock);
        let mut admitted = hammer(&nodes, ours, None, rate.burst).await;
        let seconds = 3;
        for _ in 0..seconds * 5 {
            clock.pass(Duration::from_millis(200));
            admitted += hammer(&nodes, ours, None, rate.per_second / 5).await;
        }
        let granted = f64::from(rate.burst + seconds * rate.per_second);
        let share = f64::from(admitted) / granted;
        assert!(
            (0.9..=1.1).contains(&share),
            "{plan:?}: {admitted} of {granted}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_less_than_its_workspace_and_does_not_starve_another() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let nodes = nodes(&app, Plan::Free, &clock);
    let ours = workspace(1);
    let first = hammer(&nodes, ours, Some(key(1)), 100).await;
    assert!((48..=50).contains(&first), "{first}");
    let second = hammer(&nodes, ours, Some(key(2)), 100).await;
    assert!((45..=50).contains(&second), "{second}");
    // The workspace's own bucket is what stops a third, and persons; another workspace has its own.
    assert!(hammer(&nodes, ours, Some(key(3)), 20).await <= 5);
    assert_eq!(hammer(&nodes, ours, None, 20).await, 0);
    assert_eq!(hammer(&nodes, workspace(2), Some(key(1)), 5).await, 10);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_is_told_where_they_stand() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let [node, _] = nodes(&app, Plan::Free, &clock);
    let grants = Plan::Free.grants();
    let admission = node.admit(workspace(1), Some(key(1))).await;
    let [of_key, of_workspace] = admission.standings[..] else {
        panic!("expected two limits: {admission:?}");
    };
    assert_eq!(
        of_key,
        Standing {
            limit: "key",
            rate: grants.key,
            left: 49
        }
    );
    assert_eq!(
        of_workspace,
        Standing {
            limit: "workspace",
            rate: grants.workspace,
            left: 99
        }
    );
    hammer(std::slice::from_ref(&node), workspace(1), Some(key(1)), 60).await;
    let refused = node.admit(workspace(1), Some(key(1))).await;
    assert_eq!(refused.standings[0].left, 0);
    let error = refused.refused.unwrap();
    assert_eq!(error.code, ErrorCode::RateLimitExceeded);
    assert!(
        (1..=200).contains(&error.retry_after_ms.unwrap()),
        "{error:?}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_of_keys_that_nobody_uses_are_removed() {
    let app = App::start().await;
    sqlx::query("insert into operational.buckets values ($1, $2, 7, '2020-01-01T00:00:00Z', 1)")
        .bind(workspace(1).to_string())
        .bind(key(1).to_string())
        .execute(app.state.log.database.authenticator_pool())
        .await
        .unwrap();
    let keys = async || -> Vec<String> {
        sqlx::query_scalar("select key from operational.buckets where key <> ''")
            .fetch_all(&app.owner().await)
            .await
            .unwrap()
    };
    let today = HandClock::at("2100-01-01T00:00:00Z");
    let [node, _] = nodes(&app, Plan::Free, &today);
    node.admit(workspace(1), Some(key(2))).await;
    app.until(async || keys().await == [key(2).to_string()])
        .await;
    app.stop().await;
}
