use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use toolroom_domain::{
    ErrorCategory, ErrorCode, WorkspaceId, job::ReceiptOutcome, tool::Definition,
};

use super::support::{
    API_KEY, Hands, Reports, Server, call, executor, job, options, redirect, response, rest, run,
};
use crate::executor::Executor;

fn tool(api: &Server, tokens: &Server, extra: Value) -> Definition {
    let mut auth = json!({
        "method": "oauth2_client_credentials",
        "token_url": tokens.url("/token"),
        "client_id": "${API_USER}",
        "secret_ref": "${API_KEY}",
    });
    if let (Value::Object(auth), Value::Object(extra)) = (&mut auth, extra) {
        auth.extend(extra);
    }
    rest(
        json!({"base_url": api.url("/"), "method": "POST", "auth": auth}),
        json!({}),
    )
}

/// Gives `token-1`, `token-2` … each for so long.
async fn tokens(life: Value) -> Server {
    let count = AtomicUsize::new(0);
    Server::replying(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut token = json!({"access_token": format!("token-{n}"), "token_type": "Bearer"});
        if !life.is_null() {
            token["expires_in"] = life.clone();
        }
        response("200 OK", "application/json", &token.to_string())
    })
    .await
}

fn bearer(request: &str) -> Option<&str> {
    request
        .lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "))
}

#[tokio::test]
async fn a_token_is_asked_for_and_used() {
    let (api, tokens) = (Server::json(json!("done")).await, tokens(json!(3600)).await);
    let extra = json!({"scope": "read write", "audience": "https://api.test/"});
    let reports = Reports::default();
    let tool = tool(&api, &tokens, extra);
    let output = executor().run(call(&tool, &json!({}), &reports)).await;
    assert_eq!(output, Ok(json!("done")));
    let asked = tokens.request();
    assert!(asked.starts_with("POST /token HTTP/1.1\r\n"), "{asked}");
    let form = "grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi.test%2F";
    assert!(asked.ends_with(&format!("\r\n\r\n{form}")), "{asked}");
    // The secret is encoded as a form's value before it becomes part of the pair.
    assert!(
        asked.contains("authorization: Basic YWxpOnNlc2FtZSUyRm9wZW4lMkI0NzEx\r\n"),
        "{asked}"
    );
    assert_eq!(bearer(&api.request()), Some("token-1"));
    let answered = ReceiptOutcome::Answered;
    assert_eq!(
        reports.outcomes(),
        [
            (format!("{}/token", job()), answered, Some(200)),
            (job().to_string(), answered, Some(200)),
        ]
    );
    let told = format!(
        "{:?} {:?}",
        reports.sent.lock().unwrap(),
        reports.receipts.lock().unwrap()
    );
    assert!(!told.contains(API_KEY) && !told.contains("token-1"));
}

#[tokio::test]
async fn a_client_may_show_its_secret_within_the_form() {
    let (api, tokens) = (Server::json(json!({})).await, tokens(json!(3600)).await);
    let tool = tool(&api, &tokens, json!({"client_auth": "client_secret_post"}));
    run(&executor(), &tool, json!({})).await.unwrap();
    let asked = tokens.request();
    let form = "grant_type=client_credentials&client_id=ali&client_secret=sesame%2Fopen%2B4711";
    assert!(
        asked.ends_with(form) && !asked.contains("authorization"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_token_endpoint_cannot_pass_the_secret_on() {
    for (status, client_auth) in [
        ("307 Elsewhere", "client_secret_post"),
        ("308 Elsewhere", "client_secret_post"),
        ("307 Elsewhere", "client_secret_basic"),
    ] {
        let (api, other) = (Server::json(json!({})).await, tokens(json!(3600)).await);
        let lure = Server::answering(redirect(status, &other.url("/token"))).await;
        let tool = tool(&api, &lure, json!({"client_auth": client_auth}));
        let error = run(&executor(), &tool, json!({})).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::EgressDenied, "{error}");
        assert_eq!((lure.seen().len(), other.seen().len()), (1, 0));
        assert!(api.seen().is_empty());
    }
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end() {
    for (life, kept, renewed) in [
        (json!(3600), 3569, 3571),
        (json!("100"), 89, 91),
        (json!(null), 269, 271),
    ] {
        let (api, tokens) = (Server::json(json!({})).await, tokens(life).await);
        let clock = Hands::at_noon();
        let mut options = options(&["127.0.0.0/8"]);
        options.clock = clock.clone();
        let executor = Executor::try_new(options).unwrap();
        let tool = tool(&api, &tokens, json!({}));
        run(&executor, &tool, json!({})).await.unwrap();
        clock.advance(kept);
        run(&executor, &tool, json!({})).await.unwrap();
        assert_eq!(tokens.seen().len(), 1);
        clock.advance(renewed - kept);
        run(&executor, &tool, json!({})).await.unwrap();
        assert_eq!(tokens.seen().len(), 2);
        assert_eq!(bearer(&api.seen()[2]), Some("token-2"));
    }
}

#[tokio::test]
async fn many_calls_at_once_share_one_token() {
    let (api, tokens) = (Server::json(json!({})).await, tokens(json!(3600)).await);
    let (executor, tool) = (executor(), tool(&api, &tokens, json!({})));
    let calls = (0..20).map(|_| run(&executor, &tool, json!({})));
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!((tokens.seen().len(), api.seen().len()), (1, 20));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_keeps_its_key() {
    let api = Server::replying(|request| match bearer(request) {
        Some("token-2") => response("200 OK", "application/json", "\"done\""),
        _ => response("401 Unauthorized", "application/json", "{}"),
    })
    .await;
    let tokens = tokens(json!(3600)).await;
    let (executor, tool) = (executor(), tool(&api, &tokens, json!({})));
    let reports = Reports::default();
    let output = executor.run(call(&tool, &json!({}), &reports)).await;
    assert_eq!(output, Ok(json!("done")));
    let keys: Vec<_> = reports
        .outcomes()
        .into_iter()
        .map(|(key, ..)| key)
        .collect();
    let (own, side) = (job().to_string(), format!("{}/token", job()));
    assert_eq!(keys, [side.clone(), own.clone(), side, own]);

    let never = Server::answering(response("401 Unauthorized", "application/json", "{}")).await;
    let tool = super::oauth::tool(&never, &tokens, json!({}));
    let error = run(&executor, &tool, json!({})).await.unwrap_err();
    assert_eq!(
        (error.category, error.retryable),
        (ErrorCategory::Authentication, false)
    );
    assert_eq!(never.seen().len(), 2);
}

#[tokio::test]
async fn each_workspace_and_tool_has_tokens_of_its_own() {
    let (api, tokens) = (Server::json(json!({})).await, tokens(json!(3600)).await);
    let (executor, tool) = (executor(), tool(&api, &tokens, json!({})));
    let reports = Reports::default();
    let input = json!({});
    let one = call(&tool, &input, &reports);
    let mut other = one.clone();
    other.version = 2;
    executor.run(one.clone()).await.unwrap();
    executor.run(other).await.unwrap();
    assert_eq!(tokens.seen().len(), 2);
    let mut foreign = one;
    foreign.workspace = WorkspaceId::NONE;
    // The operator's variables serve no other workspace: without a secret there is no token.
    let error = executor.run(foreign).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Authentication);
    assert_eq!((tokens.seen().len(), api.seen().len()), (2, 2));
}

#[tokio::test]
async fn what_is_wrong_with_the_token_endpoint_is_told() {
    let api = Server::json(json!({})).await;
    for (status, body, category, retryable, told) in [
        (
            "401 No",
            json!({"error": "invalid_client"}),
            ErrorCategory::Authentication,
            false,
            "invalid_client",
        ),
        (
            "400 No",
            json!({"error": "<hunter2>"}),
            ErrorCategory::Authentication,
            false,
            "without a reason",
        ),
        (
            "500 Oh",
            json!({}),
            ErrorCategory::ServerError,
            true,
            "answered 500",
        ),
        (
            "429 Slow",
            json!({}),
            ErrorCategory::RateLimit,
            true,
            "answered 429",
        ),
        (
            "200 OK",
            json!({"token": 1}),
            ErrorCategory::ServerError,
            true,
            "no `access_token`",
        ),
        (
            "200 OK",
            json!({"access_token": ""}),
            ErrorCategory::ServerError,
            true,
            "no `access_token`",
        ),
        (
            "200 OK",
            json!({"access_token": "x", "token_type": "mac"}),
            ErrorCategory::ServerError,
            true,
            "another type",
        ),
    ] {
        let tokens =
            Server::answering(response(status, "application/json", &body.to_string())).await;
        let error = run(&executor(), &tool(&api, &tokens, json!({})), json!({}))
            .await
            .unwrap_err();
        assert_eq!(
            (error.category, error.retryable),
            (category, retryable),
            "{error}"
        );
        assert!(
            error.message.contains(told) && !error.message.contains("hunter2"),
            "{error}"
        );
    }
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_is_said_back_is_masked() {
    let api = Server::replying(|request| {
        let said = json!({"you sent": bearer(request)});
        response("200 OK", "application/json", &said.to_string())
    })
    .await;
    let secret = Arc::new("a-token-of-some-length");
    let tokens = {
        let secret = Arc::clone(&secret);
        Server::replying(move |_| {
            let token = json!({"access_token": **secret});
            response("200 OK", "application/json", &token.to_string())
        })
        .await
    };
    let (executor, tool) = (executor(), tool(&api, &tokens, json!({})));
    for _ in 0..2 {
        let output = run(&executor, &tool, json!({})).await;
        assert_eq!(output, Ok(json!({"you sent": "***"})));
    }
}
