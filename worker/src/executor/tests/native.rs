use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, ErrorCode, job::Progress};

use super::support::{Reports, call, executor, native, run, with_natives};
use crate::executor::{
    CallError, Error,
    native::{Context, Registry},
};

async fn ok(path: &str, input: Value) -> Value {
    run(&executor(), &native(path), input).await.unwrap()
}

async fn refused(path: &str, input: Value) -> CallError {
    run(&executor(), &native(path), input).await.unwrap_err()
}

#[tokio::test]
async fn echo_gives_back_what_it_is_given() {
    assert_eq!(
        ok("echo", json!({"text": "hi"})).await,
        json!({"text": "hi"})
    );
}

#[tokio::test]
async fn text_is_formatted_under_either_path() {
    for path in ["text.format", "app.tools.text.format_text"] {
        let input = json!({"text": "Hello world", "style": "bold"});
        assert_eq!(ok(path, input).await, "**Hello world**");
    }
    for (style, text, formatted) in [
        ("italic", "a", "_a_"),
        ("underline", "a", "<u>a</u>"),
        ("code", "a", "`a`"),
        ("code", "a``b`", "``` a``b` ```"),
    ] {
        let input = json!({"text": text, "style": style});
        assert_eq!(ok("text.format", input).await, formatted);
    }
}

#[tokio::test]
async fn input_that_does_not_fit_is_refused_by_its_path() {
    let error = refused(
        "text.format",
        json!({"text": "hunter2", "style": "hunter2"}),
    )
    .await;
    assert_eq!(error.code, ErrorCode::ValidationFailed);
    assert_eq!(
        error.details.as_ref().unwrap()["violations"][0]["path"],
        "style"
    );
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let error = refused(
        "text.format",
        json!({"text": "a", "style": "bold", "colour": 1}),
    )
    .await;
    assert_eq!(
        error.details,
        Some(json!({"violations": [{"path": "colour", "message": "is not a known field"}]}))
    );
}

#[tokio::test]
async fn the_time_is_told_in_any_zone() {
    assert_eq!(
        ok("time.now", json!({})).await,
        json!({"time": "2026-07-01T12:00:00Z", "unix_ms": 1_782_907_200_000_i64, "timezone": "UTC"})
    );
    let input = json!({"timezone": "Europe/Rome", "format": "%A %H:%M"});
    let there = ok("time.now", input).await;
    assert_eq!(there["time"], "2026-07-01T14:00:00+02:00");
    assert_eq!(there["formatted"], "Wednesday 14:00");
    for input in [
        json!({"timezone": "Mars/Olympus"}),
        json!({"timezone": "../../etc/passwd"}),
        json!({"format": "%"}),
        json!({"format": "%A".repeat(200)}),
    ] {
        assert_eq!(
            refused("time.now", input).await.category,
            ErrorCategory::Validation
        );
    }
}

#[tokio::test]
async fn expressions_are_evaluated() {
    for (expression, value) in [
        ("2 + 3 * 4", json!(14)),
        ("2 ^ 0.5", json!(2_f64.sqrt())),
        ("(1 + 2) / 4", json!(0.75)),
        ("-2 ^ 2", json!(4)),
        ("sin(PI / 2) + max(1, 2)", json!(3)),
    ] {
        let input = json!({ "expression": expression });
        assert_eq!(ok("math.evaluate", input).await, value, "{expression}");
    }
    let input = json!({"expression": "2 * (x + y)", "variables": {"x": 1, "y": 0.5}});
    assert_eq!(ok("math.evaluate", input).await, json!(3));
}

#[tokio::test]
async fn what_is_no_number_is_an_error() {
    for expression in [
        "1 / 0",
        "0 / 0",
        "10 ^ 400",
        "sqrt(0 - 1)",
        "x",
        "",
        "2 +",
        "((",
        "🙂",
    ] {
        let error = refused("math.evaluate", json!({ "expression": expression })).await;
        assert_eq!(error.category, ErrorCategory::Validation, "{expression}");
    }
    let nested = format!("{}1{}", "(".repeat(400), ")".repeat(400));
    for expression in [nested, "1+".repeat(5_000), format!("{}1", "-".repeat(990))] {
        let begun = Instant::now();
        let _ = run(
            &executor(),
            &native("math.evaluate"),
            json!({ "expression": expression }),
        )
        .await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn json_is_queried() {
    let data = json!({"items": [{"n": 1, "p": 5}, {"n": 2, "p": 50}]});
    let input = json!({"data": data, "path": "$.items[?@.p < 10].n"});
    assert_eq!(ok("json.query", input).await, json!([1]));
    let error = refused("json.query", json!({"data": data, "path": "$["})).await;
    assert!(
        error.message.contains("`path` is not a JSONPath"),
        "{error}"
    );
    let wide: Vec<u32> = (0..10_000).collect();
    let error = refused(
        "json.query",
        json!({"data": wide, "path": "$[?count($..*) > 1]"}),
    )
    .await;
    assert!(error.message.contains("too long"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_not_known_is_refused() {
    let error = refused("os.system", json!({})).await;
    assert_eq!(error.code, ErrorCode::ValidationFailed);
}

#[tokio::test]
async fn an_action_is_refused_where_there_is_none() {
    let (definition, input, reports) = (native("echo"), json!({}), Reports::default());
    let mut call = call(&definition, &input, &reports);
    call.action = Some("SEND");
    let error = executor().run(call).await.unwrap_err();
    assert!(error.message.contains("no actions"), "{error}");
}

async fn panics(_: Context, _: Value) -> Result<Value, CallError> {
    panic!("the secret is hunter2")
}

async fn never_ends(context: Context, _: Value) -> Result<Value, CallError> {
    context.report(Progress {
        step: Some("waiting".to_owned()),
        percentage: Some(1.0),
    });
    std::future::pending().await
}

async fn too_much(_: Context, _: Value) -> Result<String, CallError> {
    Ok("x".repeat(17_000_000))
}

fn odd() -> Registry {
    let mut all = Registry::default();
    all.add(&["panics"], panics).unwrap();
    all.add(&["never.ends"], never_ends).unwrap();
    all.add(&["too.much"], too_much).unwrap();
    all
}

#[tokio::test]
async fn a_panic_is_a_failure_and_tells_nothing() {
    let error = run(&with_natives(odd()), &native("panics"), json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.category),
        (ErrorCode::ToolFailed, ErrorCategory::Unknown)
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_run_ends_at_its_limit() {
    let mut definition = native("never.ends");
    definition.policy.timeout_ms = Some(50);
    let error = run(&with_natives(odd()), &definition, json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.category, ErrorCategory::Timeout);
    assert!(
        error.retryable && error.message.contains("50 ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_is_cancelled_and_what_it_started_with_it() {
    let stopped = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&stopped);
    let (started, on_start) = tokio::sync::oneshot::channel();
    let started = std::sync::Mutex::new(Some(started));
    let (ended, on_end) = tokio::sync::oneshot::channel();
    let ended = std::sync::Mutex::new(Some(ended));
    let mut natives = Registry::default();
    let works_elsewhere = move |context: Context, _: Value| {
        let (noted, ended) = (Arc::clone(&noted), ended.lock().unwrap().take());
        let cancel = context.cancel.clone();
        tokio::spawn(async move {
            cancel.cancelled().await;
            noted.store(true, Ordering::SeqCst);
            ended.map(|ended| ended.send(()))
        });
        let _ = started
            .lock()
            .unwrap()
            .take()
            .map(|started| started.send(()));
        async { std::future::pending::<Result<Value, CallError>>().await }
    };
    natives.add(&["works.elsewhere"], works_elsewhere).unwrap();
    let executor = with_natives(natives);
    let (definition, input, reports) = (native("works.elsewhere"), json!({}), Reports::default());
    let call = call(&definition, &input, &reports);
    let cancel = call.cancel.clone();
    let (outcome, ()) = tokio::join!(executor.run(call), async {
        on_start.await.unwrap();
        cancel.cancel();
    });
    assert_eq!(outcome.unwrap_err().code, ErrorCode::JobCancelled);
    on_end.await.unwrap();
    assert!(stopped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn progress_is_passed_on() {
    let executor = with_natives(odd());
    let mut definition = native("never.ends");
    definition.policy.timeout_ms = Some(50);
    let (input, reports) = (json!({}), Reports::default());
    executor
        .run(call(&definition, &input, &reports))
        .await
        .unwrap_err();
    let told = reports.progress.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].step.as_deref(), Some("waiting"));
}

#[tokio::test]
async fn an_output_has_a_bound_and_a_promise_to_keep() {
    let error = run(&with_natives(odd()), &native("too.much"), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::PayloadTooLarge);
    let mut definition = native("echo");
    definition.output_schema = Some(json!({"properties": {"n": {"type": "integer"}}}));
    let input = json!({"n": "hunter2"});
    let error = run(&executor(), &definition, input).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ToolFailed);
    assert_eq!(error.category, ErrorCategory::Validation);
    assert_eq!(
        error.details.as_ref().unwrap()["violations"],
        json!([{"path": "n", "message": "must be of type integer"}])
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_large_output_is_checked_as_well() {
    let mut definition = native("echo");
    definition.output_schema = Some(json!({"items": {"type": "integer"}}));
    let many: Vec<u32> = (0..50_000).collect();
    let output = run(&executor(), &definition, json!(many)).await;
    assert_eq!(output, Ok(json!(many)));
    let words = vec!["word"; 50_000];
    let error = run(&executor(), &definition, json!(words))
        .await
        .unwrap_err();
    assert_eq!(error.category, ErrorCategory::Validation);
    let told = error.details.unwrap().to_string().len();
    assert!(told < 2 * crate::executor::DETAILS_BYTES, "{told}");
}

#[test]
fn a_path_is_registered_once() {
    let mut all = Registry::built_in().unwrap();
    let again = all.add(&["echo"], too_much);
    assert!(matches!(again, Err(Error::DuplicateNative { path }) if path == "echo"));
}
