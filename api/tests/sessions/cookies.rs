//! What a browser gets for its key or token, and when it ends.

use serde_json::{Value, json};
use std::time::Duration;
use toolroom_api::auth::sessions::{AT_MOST, IDLE, MAX_SESSIONS};
use toolroom_domain::Role;

use crate::server::{Server, Session};

#[tokio::test]
async fn a_key_is_exchanged_for_a_cookie_that_reads_and_with_its_token_changes() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    let session = server.sign_in(&[("x-api-key", key.reveal())]).await;
    assert!(server.is_in(&session).await);

    let by = |more: &[(&'static str, &str)]| {
        let own = [("cookie", session.cookie.clone())];
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        own.into_iter().chain(more).collect::<Vec<_>>()
    };
    let register = json!({"query": "mutation { registerTool(input: {
        name: \"say\", description: \"d\", native: {functionPath: \"echo\"} }) { name } }"});
    let send = async |headers: Vec<(&'static str, String)>| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        server
            .send("POST", "/graphql", &headers, register.clone())
            .await
    };
    for (headers, status) in [
        (by(&[]), 403),
        (by(&[("x-csrf-token", "wrong")]), 403),
        // The cookie of another origin's page does not count at all.
        (
            by(&[
                ("x-csrf-token", &session.csrf),
                ("origin", "https://evil.example"),
            ]),
            401,
        ),
        (
            by(&[
                ("x-csrf-token", &session.csrf),
                ("sec-fetch-site", "same-site"),
            ]),
            401,
        ),
    ] {
        let answer = send(headers).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let own = by(&[
        ("x-csrf-token", &session.csrf),
        ("origin", "http://tools.example.org"),
        ("sec-fetch-site", "same-origin"),
    ]);
    let answer = send(own).await;
    assert_eq!(
        answer.body["data"]["registerTool"]["name"], "say",
        "{}",
        answer.body
    );
    // Reading needs the cookie alone.
    let cookie = [("cookie", session.cookie.as_str())];
    assert_eq!(
        server
            .send("GET", "/tools", &cookie, Value::Null)
            .await
            .status,
        200
    );
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_listed_told_its_token_ended_and_gone() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Viewer).await;
    let by_key = [("x-api-key", key.reveal()), ("user-agent", "browser/1")];
    let (first, second) = (server.sign_in(&by_key).await, server.sign_in(&by_key).await);
    let cookie = [("cookie", first.cookie.as_str())];
    let listed = server
        .send("GET", "/session", &cookie, Value::Null)
        .await
        .body;
    assert_eq!(listed["csrfToken"], first.csrf);
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        assert_eq!(session["current"], session["id"] == first.id);
        assert_eq!(session["userAgent"], "browser/1");
        assert_eq!(session["expiresAt"], "2026-11-28T08:00:00Z");
    }
    // With the key itself there is no session in use.
    let listed = server
        .send("GET", "/session", &by_key, Value::Null)
        .await
        .body;
    assert_eq!(listed["csrfToken"], Value::Null);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2);

    let with_token = [cookie[0], ("x-csrf-token", first.csrf.as_str())];
    let other = format!("/session/{}", second.id);
    assert_eq!(
        server
            .send("DELETE", &other, &cookie, Value::Null)
            .await
            .status,
        403
    );
    for _ in 0..2 {
        let ended = server
            .send("DELETE", &other, &with_token, Value::Null)
            .await;
        assert_eq!(ended.status, 204, "twice is fine");
    }
    assert!(server.is_in(&first).await && !server.is_in(&second).await);

    let ended = server
        .send("DELETE", "/session", &with_token, Value::Null)
        .await;
    assert_eq!(ended.status, 204);
    assert!(ended.set_cookie.unwrap().contains("toolroom=; "));
    assert!(!server.is_in(&first).await);
    server.stop().await;
}

#[tokio::test]
async fn nobody_sees_or_ends_the_session_of_another() {
    let server = Server::start().await;
    let (_, mine) = server.key(Role::Owner).await;
    let (_, theirs) = server.key(Role::Viewer).await;
    let session = server.sign_in(&[("x-api-key", theirs.reveal())]).await;
    let me = [("x-api-key", mine.reveal())];
    let path = format!("/session/{}", session.id);
    assert_eq!(
        server.send("DELETE", &path, &me, Value::Null).await.status,
        404
    );
    assert_eq!(
        server
            .send("DELETE", "/session/x", &me, Value::Null)
            .await
            .status,
        404
    );
    let listed = server.send("GET", "/session", &me, Value::Null).await.body;
    assert_eq!(listed["sessions"], json!([]));
    assert!(server.is_in(&session).await);
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let server = Server::start().await;
    let (id, key) = server.key(Role::Member).await;
    let session = server.sign_in(&[("x-api-key", key.reveal())]).await;
    assert!(server.is_in(&session).await);
    server.revoke(&id, key.prefix()).await;
    assert!(!server.is_in(&session).await);
    server.stop().await;
}

#[tokio::test]
async fn who_loses_their_key_within_a_document_makes_no_other_by_what_follows() {
    let server = Server::start().await;
    let (id, key) = server.key(Role::Admin).await;
    let document = format!(
        r#"mutation {{
            first: revokeApiKey(id: "{id}") {{ revokedAt }}
            then: createApiKey(name: "another", role: ADMIN) {{ secret }}
        }}"#
    );
    let by_key = [("x-api-key", key.reveal())];
    let answer = server
        .send("POST", "/graphql", &by_key, json!({"query": document}))
        .await;
    let refused = &answer.body["errors"][0];
    assert_eq!(refused["path"], json!(["then"]), "{}", answer.body);
    assert_eq!(refused["extensions"]["code"], "UNAUTHENTICATED");
    let (_, left) = server.key(Role::Admin).await;
    let by_key = [("x-api-key", left.reveal())];
    let listed = server.send("GET", "/api-keys", &by_key, Value::Null).await;
    assert!(!listed.body.to_string().contains("another"));
    server.stop().await;
}

#[tokio::test]
async fn a_session_outlives_its_token_but_not_the_membership() {
    let server = Server::start().await;
    let workspace = server.workspace_of("ann").await;
    let bearer = format!("Bearer {}", server.token("ann"));
    let chosen = workspace.to_string();
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-workspace-id", chosen.as_str()),
    ];
    let session = server.sign_in(&headers).await;
    server.passes(Duration::from_secs(2 * 3600));
    assert!(server.is_in(&session).await);

    server.delete(workspace).await;
    assert!(!server.is_in(&session).await);
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_week() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    let by_key = [("x-api-key", key.reveal())];
    let (used, idle) = (server.sign_in(&by_key).await, server.sign_in(&by_key).await);
    let nearly = IDLE - Duration::from_secs(60);
    let mut lived = Duration::ZERO;
    while lived + nearly < AT_MOST {
        server.passes(nearly);
        lived += nearly;
        assert!(server.is_in(&used).await, "after {lived:?}");
    }
    assert!(!server.is_in(&idle).await);
    server.passes(AT_MOST - lived);
    assert!(!server.is_in(&used).await);
    server.stop().await;
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Viewer).await;
    let by_key = [("x-api-key", key.reveal())];
    let oldest = server.sign_in(&by_key).await;
    for _ in 0..MAX_SESSIONS {
        server.passes(Duration::from_secs(1));
        server.sign_in(&by_key).await;
    }
    let listed = server
        .send("GET", "/session", &by_key, Value::Null)
        .await
        .body;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len() as i64, MAX_SESSIONS);
    // Else there were as many rows as anybody likes to make.
    let pool = server.app.state.log.database.authenticator_pool();
    let kept = sqlx::query_scalar("select count(*) from sessions");
    assert_eq!(kept.fetch_one(pool).await.ok(), Some(MAX_SESSIONS));
    assert!(sessions.iter().all(|session| session["id"] != oldest.id));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_session_opens_nothing_and_is_made_of_nothing() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    let session = server.sign_in(&[("x-api-key", key.reveal())]).await;
    let swapped = {
        let mut secret = session.cookie.clone().into_bytes();
        let at = secret.len() - 10;
        secret[at] = if secret[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(secret).unwrap()
    };
    for cookie in [swapped.as_str(), "toolroom=", "toolroom=a.b", "toolroom"] {
        let forged = Session {
            cookie: cookie.to_owned(),
            ..session.clone()
        };
        assert!(!server.is_in(&forged).await, "{cookie}");
        // An old cookie keeps nobody from what is open to all.
        let answer = server
            .send("GET", "/", &[("cookie", cookie)], Value::Null)
            .await;
        assert_eq!(answer.status, 200, "{cookie}");
    }
    assert_eq!(
        server
            .send("POST", "/session", &[], Value::Null)
            .await
            .status,
        401
    );
    let again = [
        ("cookie", session.cookie.as_str()),
        ("x-csrf-token", session.csrf.as_str()),
    ];
    let answer = server.send("POST", "/session", &again, Value::Null).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    // What is shown in the headers goes before the cookie, also when it is wrong.
    let both = [again[0], again[1], ("x-api-key", "tr_wrong")];
    assert_eq!(
        server
            .send("GET", "/tools", &both, Value::Null)
            .await
            .status,
        401
    );
    server.stop().await;
}
