//! What is told of jobs.

use toolroom_domain::{
    ErrorCategory,
    job::{Command, Failure, Progress, Status, Told},
    tool::Kind,
};
use toolroom_projections::{
    PageRequest,
    jobs::{JobFilter, JobRow, ListJobs, query, query::RecentRuns},
};

use crate::support::{App, WORKSPACE, at, sealed};

fn failure() -> Failure {
    Failure {
        code: "TOOL_FAILED".to_owned(),
        category: ErrorCategory::ServerError,
        message: "the tool said \u{0} no".to_owned(),
        retryable: true,
        details: None,
    }
}

async fn list(app: &App, filter: JobFilter) -> Vec<JobRow> {
    let list = ListJobs {
        filter,
        page: PageRequest::first(10),
    };
    query::list(app.reads(), WORKSPACE, &list)
        .await
        .unwrap()
        .rows
}

#[tokio::test]
async fn a_job_is_told_from_request_to_output() {
    let app = App::start().await;
    let tool = app.register("say").await;
    let id = app
        .request_with(tool, |request| {
            request.action = Some("shout".to_owned());
            request.priority = 7;
        })
        .await;
    app.settled().await;
    let waiting = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.status, Status::Pending);
    assert_eq!(
        (waiting.action.as_deref(), waiting.priority),
        (Some("shout"), 7)
    );
    assert_eq!(
        (waiting.tool, waiting.tool_version, waiting.tool_kind),
        (tool, 1, Kind::Native)
    );

    app.start_job(id).await;
    let progress = Progress {
        step: Some("half".to_owned()),
        percentage: Some(50.0),
    };
    let command = Command::Progress {
        attempt: 1,
        progress: progress.clone(),
        at: at(12),
    };
    assert!(app.job(id, command).await);
    app.settled().await;
    let running = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (running.status, running.progress),
        (Status::Running, progress)
    );
    assert_eq!(
        (running.started_at, running.finished_at),
        (Some(at(11)), None)
    );

    app.succeed(id, 1_500, at(13)).await;
    app.settled().await;
    let done = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done.status, Status::Succeeded);
    assert_eq!(done.input, sealed("input"));
    assert_eq!(done.output, Some(sealed("output")));
    assert_eq!(
        (done.duration_us, done.finished_at),
        (Some(1_500), Some(at(13)))
    );
    assert_eq!(done.attempts.len(), 1);
    assert_eq!(done.attempts[0].finished_at, Some(at(13)));
    assert_eq!(done.last_event, app.sequenced().await);
    app.stop().await;
}

#[tokio::test]
async fn a_retried_job_tells_of_both_attempts() {
    let app = App::start().await;
    let tool = app.register("say").await;
    let id = app.request(tool).await;
    app.start_job(id).await;
    let fail = Command::Fail {
        attempt: 1,
        error: failure(),
        duration_us: 9,
        exit_code: None,
        retry_at: None,
        told: Default::default(),
        at: at(12),
    };
    assert!(app.job(id, fail).await);
    app.settled().await;
    let failed = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (failed.status, failed.error),
        (Status::Failed, Some(failure()))
    );

    assert!(
        app.job(
            id,
            Command::Retry {
                run_at: at(11),
                at: at(13)
            }
        )
        .await
    );
    app.start_job(id).await;
    app.settled().await;
    let again = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (again.status, again.error, again.duration_us),
        (Status::Running, None, None)
    );
    assert_eq!(again.attempts.len(), 2);
    assert_eq!(again.attempts[0].error, Some(failure()));
    app.stop().await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_filtered() {
    let app = App::start().await;
    let (say, tell) = (
        app.register_with("say", 1, |_| {}).await,
        app.register_with("tell", 2, |_| {}).await,
    );
    let old = app.request_with(say, |request| request.at = at(100)).await;
    // Two of one moment are told apart by their ids.
    let (a, b) = (
        app.request_with(say, |request| request.at = at(200)).await,
        app.request_with(tell, |request| request.at = at(200)).await,
    );
    app.start_job(old).await;
    app.settled().await;

    let mut seen = Vec::new();
    let mut page = PageRequest {
        first: 1,
        after: None,
        with_total: true,
    };
    loop {
        let list = ListJobs {
            filter: JobFilter::default(),
            page: page.clone(),
        };
        let found = query::list(app.reads(), WORKSPACE, &list).await.unwrap();
        assert_eq!(found.total_count, Some(3));
        seen.extend(found.rows.iter().map(|job| job.id));
        page.after = found.rows.last().map(JobRow::key);
        if !found.has_next {
            break;
        }
    }
    assert_eq!(seen, [a.max(b), a.min(b), old]);

    let ids = |rows: Vec<JobRow>| rows.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let running = JobFilter {
        status: vec![Status::Running, Status::Failed],
        ..JobFilter::default()
    };
    assert_eq!(ids(list(&app, running).await), [old]);
    let of_tool = JobFilter {
        tool: Some(tell),
        ..JobFilter::default()
    };
    assert_eq!(ids(list(&app, of_tool).await), [b]);
    let since = JobFilter {
        since: Some(at(200)),
        ..JobFilter::default()
    };
    assert_eq!(list(&app, since).await.len(), 2);
    let of_kind = JobFilter {
        tool_type: Some("REST".to_owned()),
        ..JobFilter::default()
    };
    assert_eq!(list(&app, of_kind).await, []);
    app.stop().await;
}

#[tokio::test]
async fn the_last_runs_of_a_tool_tell_how_it_is_doing() {
    let app = App::start().await;
    let (tool, idle) = (app.register("say").await, app.register("rest").await);
    for n in 0..4 {
        let id = app.request(tool).await;
        app.start_job(id).await;
        app.succeed(id, 1_000 * (n + 1), at(20)).await;
    }
    for (code, category) in [
        ("TOOL_FAILED", ErrorCategory::ServerError),
        ("OUTCOME_UNKNOWN", ErrorCategory::Unknown),
        // the caller's fault, and what never went out
        ("VALIDATION_FAILED", ErrorCategory::Validation),
        ("CIRCUIT_OPEN", ErrorCategory::ServerError),
    ] {
        let id = app.request(tool).await;
        app.start_job(id).await;
        let command = Command::Fail {
            attempt: 1,
            error: Failure {
                code: code.to_owned(),
                category,
                ..failure()
            },
            duration_us: 9_000,
            exit_code: None,
            retry_at: None,
            told: Told::default(),
            at: at(21),
        };
        assert!(app.job(id, command).await);
    }
    app.request(tool).await;
    app.settled().await;
    let recent = query::recent_of_tools(app.reads(), WORKSPACE, &[tool, idle], at(0))
        .await
        .unwrap();
    let expected = RecentRuns {
        tool,
        ended: 8,
        failed: 2,
        p50_ms: Some(6.5),
    };
    assert_eq!(recent, [expected]);
    let later = query::recent_of_tools(app.reads(), WORKSPACE, &[tool], at(1_000_000)).await;
    assert_eq!(later.unwrap(), []);
    app.stop().await;
}
