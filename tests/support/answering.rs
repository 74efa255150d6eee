//! An endpoint on loopback that answers as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// An HTTP endpoint. Ends when dropped.
pub struct Answering {
    pub url: String,
    calls: Arc<AtomicUsize>,
    called: Arc<Semaphore>,
    task: tokio::task::JoinHandle<()>,
}

impl Answering {
    /// Answers each call with this JSON.
    pub async fn with(body: serde_json::Value) -> Self {
        Self::with_status(200, body).await
    }

    /// Answers each call with this status and JSON.
    pub async fn with_status(status: u16, body: serde_json::Value) -> Self {
        Self::raw(answer(status, "", &body)).await
    }

    /// Answers each call with this status and no body.
    pub async fn status(line: &str, headers: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {line}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    /// Takes calls and never answers.
    pub async fn never() -> Self {
        Self::raw(String::new()).await
    }

    async fn raw(answer: String) -> Self {
        Self::by(move |_| answer.clone()).await
    }

    /// Answers the n-th call, from 1, as this says, head and body; not at all where it says nothing.
    pub async fn by(answer: impl Fn(usize) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let calls = Arc::new(AtomicUsize::new(0));
        let called = Arc::new(Semaphore::new(0));
        let task = tokio::spawn({
            let (calls, called) = (Arc::clone(&calls), Arc::clone(&called));
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let answer = answer(calls.fetch_add(1, Ordering::SeqCst) + 1);
                    called.add_permits(1);
                    tokio::spawn(async move {
                        let mut request = vec![0; 65_536];
                        let _ = stream.read(&mut request).await;
                        if answer.is_empty() {
                            // until the other side hangs up
                            while stream.read(&mut request).await.is_ok_and(|n| n > 0) {}
                        } else {
                            let _ = stream.write_all(answer.as_bytes()).await;
                        }
                    });
                }
            }
        });
        Self {
            url,
            calls,
            called,
            task,
        }
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits for the next call that was not waited for yet.
    pub async fn called(&self) {
        let call = tokio::time::timeout(super::PATIENCE, self.called.acquire()).await;
        call.expect("the endpoint is called")
            .expect("is open")
            .forget();
    }
}

/// An answer with this status, these headers, each with its line's end, and this JSON.
pub fn answer(status: u16, headers: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}
