use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, ErrorCode, tool::Definition};

use super::support::{API_KEY, Server, executor, redirect, response, rest, run};

async fn request_of(api: impl FnOnce(&Server) -> Value, mapping: Value, input: Value) -> String {
    let server = Server::json(json!({})).await;
    let tool = rest(api(&server), mapping);
    run(&executor(), &tool, input).await.unwrap();
    server.request()
}

fn first_line(request: &str) -> &str {
    request.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn without_a_mapping_every_field_that_no_template_took_is_a_parameter() {
    let request = request_of(
        |s| json!({"base_url": s.url("/v1"), "path": "/users/{{ input.id }}", "query": {"q": "{{ input.a }}!"}}),
        json!({}),
        json!({"id": "a/b", "a": "x y", "n": 3, "on": true, "tags": ["s", "t"], "none": null, "o": {"k": 1}}),
    )
    .await;
    assert_eq!(
        first_line(&request),
        "GET /v1/users/a%2Fb?q=x+y%21&n=3&o=%7B%22k%22%3A1%7D&on=true&tags=s&tags=t HTTP/1.1"
    );
}

#[tokio::test]
async fn a_mapping_names_the_parameters() {
    let mapping = json!({"input_to_params": {"city": "q", "opts.unit": "units", "$.list[*].x": "x", "gone": "gone"}});
    let input =
        json!({"city": "Rome", "opts": {"unit": "C"}, "list": [{"x": 1}, {"x": 2}], "secret": 1});
    let request = request_of(
        |s| json!({"base_url": s.url("/w")}),
        mapping.clone(),
        input.clone(),
    )
    .await;
    assert_eq!(
        first_line(&request),
        "GET /w?q=Rome&units=C&x=1&x=2 HTTP/1.1"
    );
    let request = request_of(
        |s| json!({"base_url": s.url("/w"), "method": "POST"}),
        mapping,
        input,
    )
    .await;
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body, json!({"q": "Rome", "units": "C", "x": [1, 2]}));
}

#[tokio::test]
async fn a_body_is_filled_in_and_keeps_types() {
    let request = request_of(
        |s| {
            json!({
                "base_url": s.url("/"), "method": "PUT",
                "headers": {"X-Trace": "t-{{ input.n }}"},
                "body": {"n": "{{ input.n }}", "text": "n is {{ n }}", "list": ["{{ input.l }}", 1, null]},
            })
        },
        json!({}),
        json!({"n": 1.5, "l": [1, 2]}),
    )
    .await;
    assert_eq!(first_line(&request), "PUT / HTTP/1.1");
    assert!(request.contains("x-trace: t-1.5\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"n": 1.5, "text": "n is 1.5", "list": [[1, 2], 1, null]})
    );
}

#[tokio::test]
async fn the_answer_is_mapped_to_the_output() {
    let server = Server::json(json!({"main": {"temp": 7}, "list": [{"x": 1}]})).await;
    let mapping = json!({"response_to_output": {"main.temp": "temperature", "all": "$.list[*].x"}});
    let output = run(
        &executor(),
        &rest(json!({"base_url": server.url("/")}), mapping),
        json!({}),
    )
    .await;
    assert_eq!(output, Ok(json!({"temperature": 7, "all": [1]})));
}

fn authenticated(server: &Server, auth: Value) -> Definition {
    rest(
        json!({"base_url": server.url("/"), "auth": auth}),
        json!({}),
    )
}

#[tokio::test]
async fn each_scheme_authenticates() {
    let basic = |user: &str| {
        format!(
            "authorization: Basic {}\r\n",
            BASE64.encode(format!("{user}:{API_KEY}"))
        )
    };
    for (auth, sent) in [
        (json!({"method": "none"}), "GET / HTTP/1.1".to_owned()),
        (
            json!({"method": "api_key_query", "key_name": "apikey", "secret_ref": "${API_KEY}"}),
            "GET /?apikey=sesame%2Fopen%2B4711 HTTP/1.1".to_owned(),
        ),
        (
            json!({"method": "api_key_header", "key_name": "X-API-Key", "secret_ref": "${API_KEY}"}),
            format!("x-api-key: {API_KEY}\r\n"),
        ),
        (
            json!({"method": "bearer", "secret_ref": "${API_KEY}"}),
            format!("authorization: Bearer {API_KEY}\r\n"),
        ),
        (
            json!({"method": "basic", "username": "bob", "secret_ref": "${API_KEY}"}),
            basic("bob"),
        ),
        (
            json!({"method": "basic", "username": "${API_USER}", "secret_ref": "${API_KEY}"}),
            basic("ali"),
        ),
    ] {
        let server = Server::json(json!({})).await;
        run(&executor(), &authenticated(&server, auth), json!({}))
            .await
            .unwrap();
        let request = server.request();
        assert!(request.contains(&sent), "{sent} in {request}");
    }
}

#[tokio::test]
async fn a_variable_that_is_not_listed_is_no_secret() {
    let server = Server::json(json!({})).await;
    let auth = json!({"method": "bearer", "secret_ref": "${PATH}"});
    let error = run(&executor(), &authenticated(&server, auth), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.category, ErrorCategory::Authentication);
    assert!(
        error.message.contains("`PATH`") && !error.message.contains("/never/told"),
        "{error}"
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_secret_that_is_said_back_is_masked_in_errors_and_outputs() {
    let auth = json!({"method": "basic", "username": "bob", "secret_ref": "${API_KEY}"});
    let pair = BASE64.encode(format!("bob:{API_KEY}"));
    let said = format!("got {API_KEY} sesame%2Fopen%2B4711 Basic {pair}");
    let server = Server::answering(response("401 No", "text/plain", &said)).await;
    let error = run(
        &executor(),
        &authenticated(&server, auth.clone()),
        json!({}),
    )
    .await
    .unwrap_err();
    assert_eq!(error.details.unwrap()["body"], "got *** *** Basic ***");
    let server = Server::json(json!({"you": [{"sent": said}]})).await;
    let output = run(&executor(), &authenticated(&server, auth), json!({}))
        .await
        .unwrap();
    let text = output.to_string();
    assert!(!text.contains(API_KEY) && !text.contains(&pair), "{text}");
}

#[tokio::test]
async fn a_type_that_says_a_credential_back_is_masked() {
    let auth = json!({"method": "bearer", "secret_ref": "${API_KEY}"});
    let long = format!("a/{}{API_KEY}", "x".repeat(90));
    for (named, told) in [(API_KEY, "***"), (long.as_str(), "(too long to be told)")] {
        let server = Server::answering(response("200 OK", named, "?")).await;
        let error = run(
            &executor(),
            &authenticated(&server, auth.clone()),
            json!({}),
        )
        .await;
        let error = error.unwrap_err();
        assert_eq!(error.details, Some(json!({"contentType": told})), "{error}");
    }
}

#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for() {
    for auth in [
        json!({"method": "bearer", "secret_ref": "${API_KEY}"}),
        json!({"method": "api_key_header", "key_name": "X-API-Key", "secret_ref": "${API_KEY}"}),
    ] {
        let other = Server::json(json!({})).await;
        let server = Server::answering(redirect("307 Go", &other.url("/elsewhere"))).await;
        run(&executor(), &authenticated(&server, auth), json!({}))
            .await
            .unwrap();
        assert!(server.request().contains(API_KEY));
        assert!(!other.request().contains(API_KEY));
    }
}

#[tokio::test]
async fn a_value_cannot_smuggle_a_header_or_leave_its_path() {
    let server = Server::json(json!({})).await;
    let refusing = [
        (
            json!({"base_url": server.url("/"), "headers": {"X-A": "{{ input.v }}"}}),
            "a\r\nX-Evil: 1",
        ),
        (
            json!({"base_url": server.url("/"), "headers": {"X-A": "{{ input.v }}"}}),
            "a\u{0}",
        ),
        (
            json!({"base_url": server.url("/"), "headers": {"Host": "{{ input.v }}"}}),
            "evil.test",
        ),
        (
            json!({"base_url": server.url("/a"), "path": "{{ input.v }}/b"}),
            "..",
        ),
        (
            json!({"base_url": server.url("/a"), "path": "x/{{ input.v }}."}),
            ".",
        ),
        (
            json!({"base_url": "http://{{ input.v }}.example.test/"}),
            "evil.test/",
        ),
        (
            json!({"base_url": "http://{{ input.v }}/"}),
            "127.0.0.1@evil.test",
        ),
    ];
    for (api, value) in refusing {
        let error = run(
            &executor(),
            &rest(api.clone(), json!({})),
            json!({"v": value}),
        )
        .await
        .unwrap_err();
        assert_eq!(error.code, ErrorCode::ValidationFailed, "{api} {error}");
        assert!(!error.message.contains("evil"), "{error}");
    }
    assert!(server.seen().is_empty());
    let api = json!({"base_url": server.url("/"), "path": "{{ input.v }}"});
    run(
        &executor(),
        &rest(api, json!({})),
        json!({"v": "a\r\nX-Evil: 1"}),
    )
    .await
    .unwrap();
    assert_eq!(
        first_line(&server.request()),
        "GET /a%0D%0AX-Evil%3A%201 HTTP/1.1"
    );
}

#[tokio::test]
async fn a_secret_with_a_line_break_is_refused_without_being_told() {
    let mut options = super::support::options(&["127.0.0.1"]);
    options.env = std::sync::Arc::new(|_| Some("hunter2\r\nX-Evil: 1".to_owned()));
    let executor = crate::executor::Executor::try_new(options).unwrap();
    let server = Server::json(json!({})).await;
    let auth = json!({"method": "bearer", "secret_ref": "${API_KEY}"});
    let error = run(&executor, &authenticated(&server, auth), json!({}))
        .await
        .unwrap_err();
    assert!(error.message.contains("line breaks") && !format!("{error:?}").contains("hunter2"));
}
