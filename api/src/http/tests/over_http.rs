//! GraphQL over HTTP: methods, media types, statuses.

use serde_json::json;

use super::support::*;

#[tokio::test]
async fn a_query_is_answered_in_the_media_type_that_is_asked_for() {
    let router = router();
    let body = r#"{"query":"query($n: String) { hello(name: $n) }","variables":{"n":"you"}}"#;
    let response = send(&router, strict(body)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        content_type(&response),
        "application/graphql-response+json; charset=utf-8"
    );
    assert_eq!(
        json(response).await,
        json!({"data": {"hello": "hello you"}})
    );
    let response = send(&router, post(body)).await;
    assert_eq!(content_type(&response), "application/json; charset=utf-8");
}

#[tokio::test]
async fn a_refused_document_is_400_in_the_graphql_media_type_and_200_in_plain_json() {
    let router = router();
    for query in [
        "{ unknown }",
        "{ hello",
        "query($n: Int!) { hello }",
        "mutation A { change } query B { hello }",
    ] {
        let body = json!({ "query": query }).to_string();
        let response = send(&router, strict(&body)).await;
        assert_eq!(response.status(), 400, "{query}");
        let answer = json(response).await;
        assert_eq!(answer.get("data"), None, "{answer}");
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "INVALID_REQUEST");
        assert!(extensions["requestId"].is_string());
        assert_eq!(send(&router, post(body)).await.status(), 200, "{query}");
    }
}

#[tokio::test]
async fn a_field_that_fails_is_still_an_answer() {
    let response = send(&router(), strict(r#"{"query":"{ fails hello }"}"#)).await;
    assert_eq!(response.status(), 200);
    let answer = json(response).await;
    assert_eq!(
        answer["data"],
        json!({"fails": null, "hello": "hello world"})
    );
    assert_eq!(answer["errors"][0]["path"], json!(["fails"]));
}

#[tokio::test]
async fn the_database_being_away_is_503_with_retry_after_in_both_media_types() {
    for request in [strict, |body: &str| post(body.to_owned())] {
        let response = send(&router(), request(r#"{"query":"{ away }"}"#)).await;
        assert_eq!(response.status(), 503);
        assert_eq!(header_of(&response, "retry-after"), "3");
    }
}

#[tokio::test]
async fn get_asks_and_changes_nothing() {
    let router = router();
    let response = send(&router, get_path("/graphql?query=%7Bhello%7D")).await;
    assert_eq!(json(response).await["data"]["hello"], "hello world");
    let response = send(&router, get_path("/graphql?query=mutation%7Bchange%7D")).await;
    assert_eq!(response.status(), 405);
    assert_eq!(header_of(&response, "allow"), "POST");
    assert_eq!(
        json(response).await["errors"][0]["extensions"]["code"],
        "INVALID_REQUEST"
    );
}

#[tokio::test]
async fn other_methods_are_405() {
    let response = send(
        &router(),
        request("PUT", "/graphql").body("".into()).unwrap(),
    )
    .await;
    assert_eq!(response.status(), 405);
    assert_eq!(header_of(&response, "allow"), "GET,HEAD,POST");
    assert!(json(response).await["errors"][0]["message"].is_string());
}

#[tokio::test]
async fn what_cannot_be_accepted_or_is_no_json_is_told() {
    let router = router();
    let mut html = post(r#"{"query":"{hello}"}"#);
    html.headers_mut()
        .insert("accept", "text/html".parse().unwrap());
    assert_eq!(send(&router, html).await.status(), 406);
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let mut other = post(r#"{"query":"{hello}"}"#);
        other
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        assert_eq!(send(&router, other).await.status(), 415, "{content_type}");
    }
}

#[tokio::test]
async fn what_is_no_graphql_request_is_400_in_graphqls_shape() {
    let router = router();
    for body in [
        "",
        "{",
        "[]",
        "[{\"query\":\"{hello}\"}]",
        "{}",
        "{\"query\":1}",
        "{\"query\":\"{hello}\",\"variables\":[]}",
    ] {
        let response = send(&router, post(body)).await;
        assert_eq!(response.status(), 400, "{body}");
        let answer = json(response).await;
        assert!(answer["errors"][0]["message"].is_string(), "{answer}");
        assert_eq!(answer.get("data"), None);
    }
}

#[tokio::test]
async fn a_subscription_needs_a_stream() {
    let body = r#"{"query":"subscription { ticks { position } }"}"#;
    assert_eq!(send(&router(), post(body)).await.status(), 406);
}

#[tokio::test]
async fn an_event_stream_tells_positions_and_resumes_after_the_last_seen() {
    let router = router();
    let mut request = post(r#"{"query":"subscription { ticks { position } }"}"#);
    let headers = request.headers_mut();
    headers.insert("accept", "text/event-stream".parse().unwrap());
    headers.insert("last-event-id", "7".parse().unwrap());
    let response = send(&router, request).await;
    assert_eq!(response.status(), 200);
    assert!(content_type(&response).starts_with("text/event-stream"));
    let event = |position: u32| {
        let data = json!({"data": {"ticks": {"position": position.to_string()}}});
        format!("event: next\ndata: {data}\nid: {position}\n\n")
    };
    assert_eq!(
        text(response).await,
        format!(
            "{}{}{}event: complete\ndata: null\n\n",
            event(8),
            event(9),
            event(10)
        )
    );
}
