//! Sessions: what a browser gets for its key or token, and when it ends.

mod support;

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::{Router, body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolroom_api::{
    HttpOptions, Metrics, Shell,
    auth::{
        AuthOptions,
        bootstrap::{self, OperatorKey},
        jwt::{Expected, SharedSecret, Verifier},
        sessions::{AT_MOST, IDLE, MAX_SESSIONS},
    },
    router,
};
use toolroom_domain::{
    Clock, Role, UserId, WorkspaceId,
    api_key::{self, ApiKey},
    workspace::{Command, Plan, Sender, Workspace},
};
use toolroom_eventlog::{CommandContext, append::SideRow, command::Target, ids};
use tower::ServiceExt as _;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Server {
    app: support::App,
    router: Router,
    clock: Arc<TestClock>,
}

/// What a browser keeps of a session.
#[derive(Clone)]
struct Session {
    id: String,
    cookie: String,
    csrf: String,
}

struct Answer {
    status: u16,
    body: Value,
    set_cookie: Option<String>,
}

impl Server {
    async fn start() -> Self {
        let clock = Arc::new(TestClock(Mutex::new(
            "2026-11-21T08:00:00Z".parse().unwrap(),
        )));
        let expected = Expected {
            issuer: "issuer".to_owned(),
            audiences: vec!["toolroom".to_owned()],
            leeway: std::time::Duration::ZERO,
        };
        let verifier = Verifier::new(expected, Arc::clone(&clock) as _);
        let options = AuthOptions {
            tokens: Some(verifier.with_secret(SharedSecret::try_new(SECRET).unwrap())),
            ..AuthOptions::default()
        };
        let app = support::App::start_with(options, Arc::clone(&clock) as _).await;
        let (log, clocked) = (&app.state.log, clock.as_ref());
        bootstrap::default_workspace(log, clocked).await.unwrap();
        let shell = Shell::new(HttpOptions::default(), CancellationToken::new());
        let router = router(app.state.clone(), &shell, Metrics::install());
        Self { app, router, clock }
    }

    fn passes(&self, time: std::time::Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now += SignedDuration::try_from(time).unwrap();
    }

    /// A key of the workspace `default`; its id and itself.
    async fn key(&self, role: Role) -> (String, toolroom_api::auth::api_key::ApiKey) {
        let wanted = OperatorKey {
            name: "browser",
            role,
            operator: false,
            expires_at: None,
        };
        let auth = &self.app.state.auth;
        let log = &self.app.state.log;
        let made = bootstrap::direct_key(log, auth.hash_key(), self.clock.as_ref(), wanted).await;
        let (id, key) = made.unwrap();
        (id.to_string(), key)
    }

    async fn revoke(&self, id: &str, prefix: &str) {
        let at = self.clock.now();
        let key_id = id.to_owned();
        let context = CommandContext {
            side: vec![SideRow::KeyRevoked { key_id, at }],
            ..context(WorkspaceId::DEFAULT)
        };
        let target = Target::<ApiKey>::Existing(id.to_owned());
        let revoke = api_key::Command::Revoke { at };
        let log = &self.app.state.log;
        log.bus.execute(target, revoke, &context).await.unwrap();
        self.app.state.auth.key_changed(prefix).await;
    }

    /// A workspace of a person's own.
    async fn workspace_of(&self, user: &str) -> WorkspaceId {
        let id = WorkspaceId::from_uuid(ids::new_uuid());
        let create = Command::Create {
            id,
            name: "theirs".to_owned(),
            owner: UserId::try_new(user).unwrap(),
            owner_email: None,
            time_zone: "UTC".to_owned(),
            plan: Plan::Free,
            at: self.clock.now(),
        };
        let target = Target::<Workspace>::New(id.to_string());
        let bus = &self.app.state.log.bus;
        bus.execute(target, create, &context(id)).await.unwrap();
        self.app.state.auth.workspace_changed(id).await;
        id
    }

    fn token(&self, user: &str) -> String {
        let expires = self.clock.now().as_second() + 3600;
        let claims = json!({"iss": "issuer", "aud": "toolroom", "sub": user, "exp": expires});
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!(
            "{}.{}",
            encode(json!({"alg": "HS256", "typ": "JWT"})),
            encode(claims)
        );
        let signed = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, SECRET),
            message.as_bytes(),
        );
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tools.example.org")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.body(body).unwrap();
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    async fn sign_in(&self, headers: &[(&str, &str)]) -> Session {
        let answer = self.send("POST", "/session", headers, Value::Null).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let cookie = answer.set_cookie.unwrap();
        let (cookie, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"
        );
        assert!(
            !answer
                .body
                .to_string()
                .contains(cookie.split_once('.').unwrap().1)
        );
        Session {
            id: answer.body["id"].as_str().unwrap().to_owned(),
            csrf: answer.body["csrfToken"].as_str().unwrap().to_owned(),
            cookie: cookie.to_owned(),
        }
    }

    /// Whom the server sees behind a cookie.
    async fn viewer(&self, session: &Session) -> (u16, Value) {
        let headers = [
            ("cookie", session.cookie.as_str()),
            ("x-csrf-token", session.csrf.as_str()),
        ];
        let query = "{ viewer { authenticatedBy } }";
        let answer = self
            .send("POST", "/graphql", &headers, json!({"query": query}))
            .await;
        (
            answer.status,
            answer.body["data"]["viewer"]["authenticatedBy"].clone(),
        )
    }

    async fn is_in(&self, session: &Session) -> bool {
        match self.viewer(session).await {
            (200, Value::String(by)) => {
                assert_eq!(by, "session");
                true
            }
            (401, Value::Null) => false,
            other => panic!("neither in nor out: {other:?}"),
        }
    }

    async fn stop(self) {
        drop(self.router);
        self.app.stop().await;
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let set_cookie = parts.headers.get("set-cookie");
        Self {
            status: parts.status.as_u16(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            set_cookie: set_cookie.map(|cookie| cookie.to_str().unwrap().to_owned()),
        }
    }
}

fn context(workspace: WorkspaceId) -> CommandContext {
    CommandContext::system(workspace, "test", "request".to_owned())
}

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
    server.passes(std::time::Duration::from_secs(2 * 3600));
    assert!(server.is_in(&session).await);

    let delete = Command::Delete {
        sender: Sender::User(UserId::try_new("ann").unwrap()),
        at: server.clock.now(),
    };
    let target = Target::<Workspace>::Existing(chosen.clone());
    let bus = &server.app.state.log.bus;
    bus.execute(target, delete, &context(workspace))
        .await
        .unwrap();
    server.app.state.auth.workspace_changed(workspace).await;
    assert!(!server.is_in(&session).await);
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_week() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    let by_key = [("x-api-key", key.reveal())];
    let (used, idle) = (server.sign_in(&by_key).await, server.sign_in(&by_key).await);
    let nearly = IDLE - std::time::Duration::from_secs(60);
    let mut lived = std::time::Duration::ZERO;
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
        server.passes(std::time::Duration::from_secs(1));
        server.sign_in(&by_key).await;
    }
    let listed = server
        .send("GET", "/session", &by_key, Value::Null)
        .await
        .body;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len() as i64, MAX_SESSIONS);
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
