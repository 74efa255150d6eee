//! What an endpoint that means harm can make the process hold. Alone in its process, so that its
//! memory is its own.
#![cfg(target_os = "linux")]

use std::{io::Write, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Clock, JobId, ToolId, WorkspaceId,
    job::{Progress, Receipt, SecretUse},
    tool::{Definition, PolicyOverrides},
};
use toolroom_worker::{
    connector::Connectors,
    executor::{
        Call, CallError, EgressOptions, Executor, Journal, Level, NoSecrets, Options,
        SystemResolver, Unpaced,
    },
};

/// Beyond what the process has anyway: an answer may have 16 MiB, twice while its buffer grows, and
/// as JSON it may take ten times as much.
const PEAK_MEBIBYTES: u64 = 160;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

struct Deaf;

#[async_trait]
impl Journal for Deaf {
    fn progress(&self, _: Progress) {}
    fn line(&self, _: Level, _: &str, _: String) {}
    fn secrets_used(&self, _: Vec<SecretUse>) {}
    async fn secrets_recorded(&self) -> Result<(), CallError> {
        Ok(())
    }

    async fn sending(&self, _: Receipt, _: String) -> Result<(), CallError> {
        Ok(())
    }
    fn received(&self, _: Receipt) {}
    fn exit_code(&self, _: i32) {}
}

/// The most memory that the process has held since it was last asked, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
    let peak = kibibytes.parse::<u64>().unwrap() / 1024;
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn serve(head: String, body: Vec<u8>, forever: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (head, body): (String, Arc<[u8]>) = (head, body.into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, body) = (head.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut written = stream.write_all(head.as_bytes()).await;
                while written.is_ok() {
                    written = stream.write_all(&body).await;
                    if !forever {
                        break;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn an_attack_is_bounded_in_memory() {
    let executor = Executor::try_new(Options {
        egress: EgressOptions {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            resolver: Arc::new(SystemResolver),
        },
        env_secrets: Vec::new(),
        env: Arc::new(|_| None),
        secrets: Arc::new(NoSecrets),
        connectors: Arc::new(Connectors::built_in().unwrap()),
        clock: Arc::new(Noon),
    })
    .unwrap();
    let head = |kind: &str, more: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{more}connection: close\r\n\r\n")
    };
    let packed = "content-encoding: gzip\r\n";
    let attacks = [
        (
            "a gzip bomb",
            head("application/json", packed),
            gzip(&vec![b' '; 300_000_000]),
            false,
        ),
        (
            "a packed list",
            head("application/json", packed),
            gzip(format!("[0{}]", ",0".repeat(60_000_000)).as_bytes()),
            false,
        ),
        (
            "an endless answer",
            head("application/json", ""),
            vec![b' '; 65_536],
            true,
        ),
        (
            "endless headers",
            "HTTP/1.1 200 OK\r\n".to_owned(),
            b"x: y\r\n".repeat(10_000),
            true,
        ),
        (
            "a flood of elements",
            head("application/xml", packed),
            gzip(format!("<a>{}</a>", "<b/>".repeat(2_500_000)).as_bytes()),
            false,
        ),
        (
            "a flood of cells",
            head("text/csv", packed),
            gzip(format!("a\n{}", "1\n".repeat(5_000_000)).as_bytes()),
            false,
        ),
        (
            "deep elements",
            head("application/xml", packed),
            gzip("<a>".repeat(3_000_000).as_bytes()),
            false,
        ),
    ];
    for (name, head, body, forever) in attacks {
        let url = serve(head, body, forever).await;
        let config: Value = json!({"kind": "REST", "api": {"base_url": url}});
        let definition = Definition {
            config: serde_json::from_value(config).unwrap(),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            policy: PolicyOverrides::default(),
            requires_approval: false,
        };
        let input = json!({});
        let call = Call {
            workspace: WorkspaceId::DEFAULT,
            job: JobId::from_uuid(uuid::Uuid::from_u128(7)),
            attempt: 1,
            tool: ToolId::from_uuid(uuid::Uuid::from_u128(1)),
            version: 1,
            definition: &definition,
            action: None,
            input: &input,
            is_test: false,
            journal: &Deaf,
            pacing: &Unpaced,
            cancel: CancellationToken::new(),
        };
        let _ = peak();
        let before = peak();
        let outcome = executor.run(call).await;
        let after = peak();
        assert!(outcome.is_err(), "{name}");
        assert!(
            after.saturating_sub(before) < PEAK_MEBIBYTES,
            "{name}: {before} to {after} MiB"
        );
    }
}
