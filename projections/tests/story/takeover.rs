//! Nodes that come and go.

use std::sync::atomic::{AtomicBool, Ordering};

use toolroom_projections::{
    ProjectionState,
    catalog::query,
    stats::{GroupBy, Period, StatsQuery},
};

use crate::support::{App, PATIENCE, WORKSPACE, at, only};

#[tokio::test]
async fn another_node_goes_on_when_one_stops_or_dies() {
    let app = App::bare().await;
    let (first, second) = (
        app.node("first", only("catalog")),
        app.node("second", only("catalog")),
    );
    let a = app.register("a").await;
    app.settled_on(&second.reader).await;
    let holder = || async {
        let sql = "select holder from checkpoints where follower = 'catalog'";
        let holder: Option<String> = sqlx::query_scalar(sql).fetch_one(&app.owner).await.unwrap();
        holder.unwrap()
    };
    let held_by_first = holder().await == "first";
    let (holding, waiting) = if held_by_first {
        (first, second)
    } else {
        (second, first)
    };
    holding.stop().await;
    let b = app.register("b").await;
    app.settled_on(&waiting.reader).await;
    assert_eq!(holder().await == "first", !held_by_first);

    // Killed, a node gives nothing up: its lease has to run out.
    waiting.kill().await;
    let heir = app.node("heir", only("catalog"));
    let c = app.register("c").await;
    sqlx::query("update checkpoints set lease_until = now()")
        .execute(&app.owner)
        .await
        .unwrap();
    app.settled_on(&heir.reader).await;
    assert_eq!(holder().await, "heir");
    let found = query::by_ids(app.reads(), WORKSPACE, &[a, b, c])
        .await
        .unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(
        heir.reader.status().await.unwrap()[0].state,
        ProjectionState::Running
    );
    heir.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_node_that_is_fenced_off_or_cut_off_counts_nothing_twice() {
    const RUNS: usize = 150;
    let app = App::start().await;
    let tool = app.register("say").await;
    let over = AtomicBool::new(false);
    let disturb = async {
        while !over.load(Ordering::SeqCst) {
            for sql in [
                "update checkpoints set lease_epoch = lease_epoch + 1",
                // Whoever is deriving something right now loses the connection.
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()
                   and query like '%projections.%' and query not like '%pg_stat_activity%'",
            ] {
                sqlx::query(sql).execute(&app.owner).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(7)).await;
            }
        }
    };
    let run = async {
        for _ in 0..RUNS {
            let id = app.request(tool).await;
            app.start_job(id).await;
            app.succeed(id, 5, at(12)).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(disturb, run);
    app.settled().await;
    let all = StatsQuery {
        period: Period::Day,
        group_by: GroupBy::Tool,
        tool: None,
        from: None,
        to: None,
    };
    let stats = toolroom_projections::stats::query::buckets(app.reads(), WORKSPACE, &all).await;
    assert_eq!(stats.unwrap()[0].succeeded, RUNS as i64);
    app.stop().await;
}

#[tokio::test]
async fn a_waiter_is_told_when_the_time_is_over() {
    let app = App::start().await;
    app.register("a").await;
    app.settled().await;
    let head = app.sequenced().await;
    let soon = std::time::Duration::from_millis(30);
    assert!(app.reader().wait_for("jobs", head, soon).await.unwrap());
    assert!(!app.reader().wait_for("jobs", head + 1, soon).await.unwrap());
    assert!(
        !app.reader()
            .wait_for("no such projection", 0, PATIENCE)
            .await
            .unwrap()
    );
    for status in app.reader().status().await.unwrap() {
        assert_eq!((status.position, status.head, status.lag), (head, head, 0));
        assert_eq!(
            (status.state, status.last_error),
            (ProjectionState::Running, None)
        );
    }
    app.stop().await;
}
