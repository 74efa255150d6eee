//! What quotas are counted from.

use jiff::{SignedDuration, Timestamp};
use sqlx::Row as _;
use toolroom_domain::{WorkspaceId, job::Command};
use toolroom_projections::usage::query;

use crate::support::{App, WORKSPACE, at};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The moment of the last event, by the database's clock, and that of the first.
async fn span(app: &App) -> (Timestamp, Timestamp) {
    let row = sqlx::query("select min(recorded_at) as a, max(recorded_at) as b from events")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    let time = |column| row.get::<jiff_sqlx::Timestamp, _>(column).to_jiff();
    (time("a"), time("b"))
}

/// The runs of the hour and of the day.
async fn runs(app: &App, workspace: WorkspaceId, at: Timestamp) -> (u64, u64) {
    let counted = query::runs(app.reads(), workspace, Some(at)).await.unwrap();
    assert_eq!(counted.at, at);
    (counted.hour, counted.day)
}

#[tokio::test]
async fn a_run_counts_when_it_is_asked_for_and_again_when_it_is_asked_for_again() {
    let app = App::start().await;
    let tool = app.register("say").await;
    let asked = app.request(tool).await;
    app.request_with(tool, |request| request.is_test = true)
        .await;
    app.start_job(asked).await;
    let error = toolroom_domain::job::Failure {
        code: "TOOL_FAILED".to_owned(),
        category: toolroom_domain::ErrorCategory::Unknown,
        message: "no".to_owned(),
        retryable: true,
        details: None,
    };
    let fail = Command::Fail {
        attempt: 1,
        error,
        duration_us: 1,
        exit_code: None,
        retry_at: None,
        told: Default::default(),
        at: at(12),
    };
    assert!(app.job(asked, fail).await);
    let retry = Command::Retry {
        run_at: at(13),
        at: at(13),
    };
    assert!(app.job(asked, retry).await);
    app.settled().await;

    let (first, last) = span(&app).await;
    let counted = runs(&app, WORKSPACE, last).await;
    // Begun in one hour, it may end in the next, or on the next day.
    if first.as_second() / 3_600 == last.as_second() / 3_600 {
        assert_eq!(counted, (3, 3));
        assert_eq!(runs(&app, WORKSPACE, last + HOUR * 24).await, (0, 0));
        let now = query::runs(app.reads(), WORKSPACE, None).await.unwrap();
        assert!(now.at >= last && now.hour <= 3);
    }
    let strangers = WorkspaceId::from_uuid(uuid::Uuid::from_u128(9));
    assert_eq!(runs(&app, strangers, last).await, (0, 0));
    app.stop().await;
}

#[tokio::test]
async fn hours_and_days_begin_by_the_clock() {
    let app = App::start().await;
    app.reader().prepare().await.unwrap();
    let midnight: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    for (hours, runs) in [(-1, 1), (0, 10), (5, 100), (23, 1_000), (24, 10_000)] {
        sqlx::query("insert into projections.usage values ($1, $2, $3)")
            .bind(WORKSPACE.uuid())
            .bind(jiff_sqlx::ToSqlx::to_sqlx(midnight + HOUR * hours))
            .bind(i64::from(runs))
            .execute(&app.owner)
            .await
            .unwrap();
    }
    let told = async |text: &str| runs(&app, WORKSPACE, text.parse().unwrap()).await;
    assert_eq!(told("2026-11-21T05:00:00Z").await, (100, 1_110));
    assert_eq!(told("2026-11-21T05:59:59.999999Z").await, (100, 1_110));
    assert_eq!(told("2026-11-21T06:00:00Z").await, (0, 1_110));
    assert_eq!(told("2026-11-20T23:59:59Z").await, (1, 1));
    assert_eq!(told("2026-11-22T00:00:00Z").await, (10_000, 10_000));
    app.stop().await;
}
