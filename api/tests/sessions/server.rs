//! An API that asks for credentials, on a clock of the test's own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use axum::{Router, body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use toolroom_api::{
    HttpOptions, Metrics, Shell,
    auth::{
        AuthOptions,
        bootstrap::{self, OperatorKey},
        jwt::{Expected, SharedSecret, Verifier},
    },
    router,
};
use toolroom_domain::{
    Clock, Role, UserId, WorkspaceId,
    access::Caller,
    api_key::{self, ApiKey},
    workspace::{Command, Plan, Sender, Workspace},
};
use toolroom_eventlog::{CommandContext, append::SideRow, command::Target, ids};
use tower::ServiceExt as _;

use crate::support::App;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

pub struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub struct Server {
    pub app: App,
    pub router: Router,
    pub shell: Shell,
    pub clock: Arc<TestClock>,
}

/// What a browser keeps of a session.
#[derive(Clone)]
pub struct Session {
    pub id: String,
    pub cookie: String,
    pub csrf: String,
}

pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub set_cookie: Option<String>,
}

impl Server {
    pub async fn start() -> Self {
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
        let app = App::start_with(options, Arc::clone(&clock) as _).await;
        let (log, clocked) = (&app.state.log, clock.as_ref());
        bootstrap::default_workspace(log, clocked).await.unwrap();
        let shell = Shell::new(HttpOptions::default(), CancellationToken::new());
        let router = router(app.state.clone(), &shell, Metrics::install());
        Self {
            app,
            router,
            shell,
            clock,
        }
    }

    pub fn passes(&self, time: std::time::Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now += SignedDuration::try_from(time).unwrap();
    }

    /// A key of the workspace `default`; its id and itself.
    pub async fn key(&self, role: Role) -> (String, toolroom_api::auth::api_key::ApiKey) {
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

    pub async fn revoke(&self, id: &str, prefix: &str) {
        let at = self.clock.now();
        let key_id = id.to_owned();
        let context = CommandContext {
            side: vec![SideRow::KeyRevoked { key_id, at }],
            ..context(WorkspaceId::DEFAULT)
        };
        let target = Target::<ApiKey>::Existing(id.to_owned());
        let revoke = api_key::Command::Revoke {
            revoker: Caller::Operator,
            at,
        };
        let log = &self.app.state.log;
        log.bus.execute(target, revoke, &context).await.unwrap();
        self.app.state.auth.key_changed(prefix).await;
    }

    /// A workspace of a person's own.
    pub async fn workspace_of(&self, user: &str) -> WorkspaceId {
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

    /// Deletes a workspace, and with it all membership.
    pub async fn delete(&self, workspace: WorkspaceId) {
        let delete = Command::Delete {
            sender: Sender::Operator,
            at: self.clock.now(),
        };
        let target = Target::<Workspace>::Existing(workspace.to_string());
        let bus = &self.app.state.log.bus;
        bus.execute(target, delete, &context(workspace))
            .await
            .unwrap();
        self.app.state.auth.workspace_changed(workspace).await;
    }

    /// Serves on a port, until the test ends.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, shell) = (self.router.clone(), self.shell.clone());
        tokio::spawn(
            async move { toolroom_api::http::serve(vec![listener], router, &shell).await },
        );
        address
    }

    pub fn token(&self, user: &str) -> String {
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

    pub async fn send(
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

    pub async fn sign_in(&self, headers: &[(&str, &str)]) -> Session {
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
    pub async fn viewer(&self, session: &Session) -> (u16, Value) {
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

    pub async fn is_in(&self, session: &Session) -> bool {
        match self.viewer(session).await {
            (200, Value::String(by)) => {
                assert_eq!(by, "session");
                true
            }
            (401, Value::Null) => false,
            other => panic!("neither in nor out: {other:?}"),
        }
    }

    pub async fn stop(self) {
        self.shell.shutdown.cancel();
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

pub fn context(workspace: WorkspaceId) -> CommandContext {
    CommandContext::system(workspace, "test", "request".to_owned())
}
