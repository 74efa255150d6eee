//! Calls of which nobody knows whether they arrived.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Notify,
};
use toolroom_domain::{
    job::{ReceiptOutcome, Status},
    tool::{ConnectorConfig, CredentialsRef, ExternalConfig, PolicyOverrides, ToolConfig},
};

use crate::support::{PATIENCE, World, behaves};

/// An endpoint that reads requests and answers none, but those after the first `silent` ones.
struct Endpoint {
    url: String,
    requests: Arc<AtomicU32>,
    keys: Arc<std::sync::Mutex<Vec<String>>>,
    arrived: Arc<Notify>,
}

impl Endpoint {
    async fn silent_for(silent: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pay", listener.local_addr().unwrap());
        let (requests, arrived) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let keys = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (counted, told, seen) = (
            Arc::clone(&requests),
            Arc::clone(&arrived),
            Arc::clone(&keys),
        );
        tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                let mut part = [0; 1024];
                while !String::from_utf8_lossy(&head).contains("\r\n\r\n{}") {
                    match socket.read(&mut part).await {
                        Ok(n) if n > 0 => head.extend_from_slice(&part[..n]),
                        _ => break,
                    }
                }
                let text = String::from_utf8_lossy(&head).to_lowercase();
                let key = text
                    .lines()
                    .find_map(|l| l.strip_prefix("idempotency-key: "));
                seen.lock()
                    .unwrap()
                    .push(key.unwrap_or_default().to_owned());
                let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
                if n > silent {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntrue";
                    socket.write_all(answer.as_bytes()).await.unwrap();
                } else {
                    kept.push(socket);
                }
                told.notify_one();
            }
        });
        Self {
            url,
            requests,
            keys,
            arrived,
        }
    }

    fn tool(&self, idempotency_header: Option<&str>) -> ToolConfig {
        ToolConfig::External(ExternalConfig {
            endpoint_url: self.url.clone(),
            idempotency_header: idempotency_header.map(str::to_owned),
        })
    }
}

async fn world(endpoint: &Endpoint, header: Option<&str>, timeout_ms: u64) -> World {
    let policy = PolicyOverrides {
        timeout_ms: Some(timeout_ms),
        initial_delay_ms: Some(20),
        ..PolicyOverrides::default()
    };
    let unused = behaves(async |_, _| Ok(json!(null)));
    World::of(endpoint.tool(header), policy, unused).await
}

#[tokio::test]
async fn a_call_that_must_not_be_doubled_is_in_the_log_before_it_leaves() {
    let endpoint = Endpoint::silent_for(1).await;
    let world = world(&endpoint, None, 60_000).await;
    let node = world.node("n").await;
    let id = world.submit().await;
    endpoint.arrived.notified().await;
    let calls = world.job(id).await.attempts()[0].receipts.clone();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].outcome, ReceiptOutcome::Unknown);
    assert!(!calls[0].repeatable);
    assert!(calls[0].digest_key.is_some());
    node.kill();
    let _again = world.node("n").await;
    let job = world.ended(id).await;
    assert_eq!(job.status(), Status::Failed);
    assert_eq!(job.error().unwrap().code, "OUTCOME_UNKNOWN");
    assert_eq!(
        endpoint.requests.load(Ordering::SeqCst),
        1,
        "it is never sent again"
    );
}

#[tokio::test]
async fn a_call_that_nobody_answers_in_time_is_not_repeated() {
    let endpoint = Endpoint::silent_for(1).await;
    let world = world(&endpoint, None, 400).await;
    let node = world.node("n").await;
    let job = node.run(world.request(), PATIENCE).await.job;
    assert_eq!(job.status(), Status::Failed);
    let error = job.error().unwrap();
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("OUTCOME_UNKNOWN", false)
    );
    assert_eq!(
        job.attempts()[0].receipts[0].outcome,
        ReceiptOutcome::Unknown
    );
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn where_the_other_side_takes_a_key_the_call_is_repeated_with_the_same_one() {
    let endpoint = Endpoint::silent_for(2).await;
    let world = world(&endpoint, Some("Idempotency-Key"), 60_000).await;
    let node = world.node("n").await;
    let id = world.submit().await;
    endpoint.arrived.notified().await;
    node.kill();
    let second = world.node("n").await;
    endpoint.arrived.notified().await;
    second.kill();
    let _third = world.node("n").await;
    let job = world.ended(id).await;
    assert_eq!(job.status(), Status::Succeeded, "{:?}", job.error());
    assert_eq!(job.attempts().len(), 3);
    let keys = endpoint.keys.lock().unwrap().clone();
    assert_eq!(keys, vec![id.to_string(); 3]);
    let last = &job.attempts()[2].receipts[0];
    assert_eq!(
        (last.outcome, last.status),
        (ReceiptOutcome::Answered, Some(200))
    );
    // Keyed, also as it is told with the answer.
    assert!(last.digest_key.is_some());
}

#[tokio::test]
async fn what_a_cancelled_call_did_is_told_all_the_same() {
    let endpoint = Endpoint::silent_for(1).await;
    let world = world(&endpoint, Some("Idempotency-Key"), 60_000).await;
    let _node = world.node("n").await;
    let id = world.submit().await;
    endpoint.arrived.notified().await;
    world.cancel(id).await;
    let told = |job: &toolroom_domain::job::Job| !job.attempts()[0].receipts.is_empty();
    let job = world.until(id, told).await;
    assert_eq!(job.status(), Status::Cancelled);
    assert_eq!(
        job.attempts()[0].receipts[0].outcome,
        ReceiptOutcome::Unknown
    );
}

#[tokio::test]
async fn a_password_is_shown_to_a_mail_server_only_once_the_log_tells_of_its_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ToolConfig::Connector(Box::new(ConnectorConfig {
        connector: "EMAIL".to_owned(),
        credentials: CredentialsRef {
            id: "mail".to_owned(),
            version: 1,
            shown: json!({
                "host": "127.0.0.1", "port": port, "security": "tls",
                "username": "toolroom", "password": "sesame", "from": "toolroom@example.com",
            }),
        },
        config: None,
    }));
    let unused = behaves(async |_, _| Ok(json!(null)));
    let world = World::of(config, PolicyOverrides::default(), unused).await;
    let node = world.node("n").await;
    let letter = json!({ "to": "jane@example.org", "subject": "Hello", "body": "A note." });
    let id = world.submit_with(letter).await;
    let connected = tokio::time::timeout(PATIENCE, listener.accept()).await;
    let _line = connected.expect("the server is called").unwrap();
    let events = world.events(id).await;
    assert!(events.contains(&"SecretsUsed".to_owned()), "{events:?}");
    node.kill();
}
