//! What the gate is told of runs, and what it lets them do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use toolroom_domain::{
    connector::TEST_CONNECTION,
    job::{Job, Status},
    port::RunRequest,
    tool::{ExternalConfig, PolicyOverrides, ToolConfig},
};

use crate::support::{Node, PATIENCE, World, behaves};

/// As long as a caller waits who shall not wait for a rate or a circuit.
const SHORT: Duration = Duration::from_secs(5);

/// An endpoint that answers as it is told.
struct Endpoint {
    url: String,
    head: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl Endpoint {
    /// Answers with this status line and these headers, until [`Self::says`] something else.
    async fn saying(head: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            head: Arc::new(Mutex::new(head.to_owned())),
            requests: Arc::default(),
        };
        let (head, requests) = (Arc::clone(&endpoint.head), Arc::clone(&endpoint.requests));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let _ = socket.read(&mut request).await;
                requests.fetch_add(1, Ordering::SeqCst);
                let head = head.lock().unwrap().clone();
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        endpoint
    }

    fn says(&self, head: &str) {
        head.clone_into(&mut self.head.lock().unwrap());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// A world in which it is the tool, and a node in it.
    async fn tool(&self) -> (World, Node) {
        let policy = PolicyOverrides {
            max_attempts: Some(1),
            ..PolicyOverrides::default()
        };
        let tool = ToolConfig::External(ExternalConfig {
            endpoint_url: self.url.clone(),
            idempotency_header: None,
        });
        let world = World::of(tool, policy, behaves(async |_, _| Ok(json!(null)))).await;
        let node = world.node("n").await;
        (world, node)
    }
}

fn code(job: &Job) -> &str {
    job.error().map_or("", |error| error.code.as_str())
}

fn rehearsal(world: &World) -> RunRequest {
    RunRequest {
        is_test: true,
        ..world.request()
    }
}

fn connection_test(world: &World) -> RunRequest {
    RunRequest {
        action: Some(TEST_CONNECTION.to_owned()),
        ..rehearsal(world)
    }
}

/// Has the tool fail until its circuit is open.
async fn break_it(world: &World, node: &Node) {
    for _ in 0..5 {
        let job = node.run(world.request(), PATIENCE).await.job;
        assert_eq!(job.status(), Status::Failed);
    }
    let job = node.run(world.request(), SHORT).await.job;
    assert_eq!(code(&job), "CIRCUIT_OPEN");
}

#[tokio::test]
async fn a_request_that_is_only_shown_needs_no_closed_circuit_and_closes_none() {
    let endpoint = Endpoint::saying("500 Oh").await;
    let (world, node) = endpoint.tool().await;
    break_it(&world, &node).await;
    let calls = endpoint.requests();
    for _ in 0..3 {
        let shown = node.run(rehearsal(&world), SHORT).await.job;
        assert_eq!(shown.status(), Status::Succeeded, "{:?}", shown.error());
    }
    let job = node.run(world.request(), SHORT).await.job;
    assert_eq!(code(&job), "CIRCUIT_OPEN", "they tried nothing");
    assert_eq!(endpoint.requests(), calls);
}

#[tokio::test]
async fn what_is_only_shown_ends_no_row_of_failures() {
    let endpoint = Endpoint::saying("500 Oh").await;
    let (world, node) = endpoint.tool().await;
    for n in 1..=5 {
        let job = node.run(world.request(), PATIENCE).await.job;
        assert_eq!(code(&job), "TOOL_FAILED", "after {n}");
        let shown = node.run(rehearsal(&world), SHORT).await.job;
        assert_eq!(shown.status(), Status::Succeeded);
    }
    let job = node.run(world.request(), SHORT).await.job;
    assert_eq!(code(&job), "CIRCUIT_OPEN");
}

#[tokio::test]
async fn who_has_mended_a_broken_tool_tests_it_at_once_and_it_is_called_again() {
    let endpoint = Endpoint::saying("500 Oh").await;
    let (world, node) = endpoint.tool().await;
    break_it(&world, &node).await;
    let still_broken = node.run(connection_test(&world), SHORT).await.job;
    assert_eq!(code(&still_broken), "TOOL_FAILED", "it was asked");
    endpoint.says("200 OK");
    let tested = node.run(connection_test(&world), SHORT).await.job;
    assert_eq!(tested.status(), Status::Succeeded, "{:?}", tested.error());
    // Without the test it would be kept back for a minute; and after it, it is no probe any more.
    for _ in 0..2 {
        let job = node.run(world.request(), SHORT).await.job;
        assert_eq!(job.status(), Status::Succeeded, "{:?}", job.error());
    }
}

#[tokio::test]
async fn what_one_answer_says_of_the_limit_holds_the_next_call_back() {
    let endpoint =
        Endpoint::saying("200 OK\r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: 900").await;
    let (world, node) = endpoint.tool().await;
    let first = node.run(world.request(), SHORT).await.job;
    assert_eq!(first.status(), Status::Succeeded, "{:?}", first.error());
    let second = node.run(world.request(), SHORT).await.job;
    assert_eq!(code(&second), "RATE_LIMIT_EXCEEDED");
    assert_eq!(endpoint.requests(), 1);
}
