//! How runs are counted.

use jiff::Timestamp;
use toolroom_domain::job::Command;
use toolroom_projections::stats::{GroupBy, Period, StatsBucket, StatsQuery, query};

use crate::support::{App, WORKSPACE, at};

async fn buckets(app: &App, period: Period, group_by: GroupBy) -> Vec<StatsBucket> {
    let query = StatsQuery {
        period,
        group_by,
        tool: None,
        from: None,
        to: None,
    };
    query::buckets(app.reads(), WORKSPACE, &query)
        .await
        .unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn runs_are_counted_by_hour_with_their_latencies() {
    let app = App::start().await;
    let tool = app.register("say").await;
    // A hundred runs of 1 to 100 ms in one hour, one in another month, one rehearsal.
    for ms in 1..=100_u64 {
        let id = app.request(tool).await;
        app.start_job(id).await;
        app.succeed(id, ms * 1_000, time("2026-03-01T10:30:00Z"))
            .await;
    }
    let late = app.request(tool).await;
    app.start_job(late).await;
    app.succeed(late, 5_000_000, time("2026-04-01T00:00:00Z"))
        .await;
    let rehearsal = app
        .request_with(tool, |request| request.is_test = true)
        .await;
    app.start_job(rehearsal).await;
    app.succeed(rehearsal, 1, time("2026-03-01T10:30:00Z"))
        .await;
    let unwanted = app.request(tool).await;
    let cancel = Command::Cancel {
        reason: None,
        at: time("2026-03-02T00:00:00Z"),
    };
    assert!(app.job(unwanted, cancel).await);
    app.settled().await;

    let months = buckets(&app, Period::Month, GroupBy::Tool).await;
    assert_eq!(months.len(), 2);
    let march = &months[0];
    assert_eq!(
        (march.from, march.to),
        (time("2026-03-01T00:00:00Z"), time("2026-04-01T00:00:00Z"))
    );
    assert_eq!(march.key, tool.to_string());
    assert_eq!(
        (march.runs, march.succeeded, march.failed, march.cancelled),
        (101, 100, 0, 1)
    );
    for (percentile, expected) in [
        (march.p50_ms, 50.0),
        (march.p95_ms, 95.0),
        (march.p99_ms, 99.0),
    ] {
        let off = (percentile.unwrap() - expected).abs() / expected;
        assert!(off <= 1.0 / 32.0, "{percentile:?} instead of {expected}");
    }
    assert_eq!(buckets(&app, Period::Day, GroupBy::Type).await.len(), 3);
    let hours = buckets(&app, Period::Hour, GroupBy::Status).await;
    let keys: Vec<_> = hours.iter().map(|bucket| bucket.key.as_str()).collect();
    assert_eq!(keys, ["SUCCEEDED", "CANCELLED", "SUCCEEDED"]);
    assert_eq!(hours[1].p50_ms, None);

    let only = StatsQuery {
        period: Period::Week,
        group_by: GroupBy::Action,
        tool: Some(tool),
        from: Some(time("2026-03-15T00:00:00Z")),
        to: Some(time("2026-04-02T00:00:00Z")),
    };
    let weeks = query::buckets(app.reads(), WORKSPACE, &only).await.unwrap();
    assert_eq!(weeks.len(), 1);
    assert_eq!(
        (weeks[0].from, weeks[0].key.as_str()),
        (time("2026-03-30T00:00:00Z"), "")
    );
    app.stop().await;
}

#[tokio::test]
async fn a_job_that_never_began_failed_without_a_latency() {
    let app = App::start().await;
    let tool = app.register("say").await;
    let id = app.request(tool).await;
    let error = toolroom_domain::job::Failure {
        code: "EGRESS_DENIED".to_owned(),
        category: toolroom_domain::ErrorCategory::Validation,
        message: "no".to_owned(),
        retryable: false,
        details: None,
    };
    assert!(
        app.job(
            id,
            Command::Fail {
                attempt: 0,
                error,
                duration_us: 0,
                exit_code: None,
                retry_at: None,
                told: Default::default(),
                at: at(1)
            }
        )
        .await
    );
    app.settled().await;
    let all = buckets(&app, Period::Day, GroupBy::Tool).await;
    assert_eq!((all[0].failed, all[0].p99_ms), (1, None));
    app.stop().await;
}
