//! Letters to aiosmtpd, a mail server that is not ours: where Python has it (`pip install aiosmtpd`,
//! or Debian's `python3-aiosmtpd`), and always where the environment says `CI`.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use toolroom_domain::ErrorCategory;

use super::{post_office::TLS, *};

struct Aiosmtpd {
    port: u16,
    letters: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Aiosmtpd {
    /// None where it is not installed.
    async fn start() -> Option<Self> {
        let Some(python) = python().await else {
            assert!(
                std::env::var_os("CI").is_none(),
                "no python3 has aiosmtpd: install Debian's python3-aiosmtpd, or unset CI to leave this out"
            );
            eprintln!("left out: no python3 has aiosmtpd");
            return None;
        };
        let mut process = Command::new(python)
            .args(["-c", include_str!("aiosmtpd_server.py"), USERNAME, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(TLS.identity.as_bytes()).await.unwrap();
        drop(stdin);
        let mut letters = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = letters.next_line().await.unwrap()?.parse().unwrap();
        Some(Self {
            port,
            letters,
            _process: process,
        })
    }
}

/// The first Python that has it: one from elsewhere may stand before Debian's.
async fn python() -> Option<&'static str> {
    for program in ["python3", "/usr/bin/python3"] {
        let probe = Command::new(program)
            .args(["-c", "import aiosmtpd"])
            .stderr(Stdio::null())
            .status();
        if probe.await.is_ok_and(|status| status.success()) {
            return Some(program);
        }
    }
    None
}

#[tokio::test]
async fn a_server_that_is_not_ours_takes_letters() {
    let Some(mut server) = Aiosmtpd::start().await else {
        return;
    };
    let world = World::new(Manner::Proper).await.with("port", server.port);
    let report = "YSxiCjEsMgo=";
    let output = world.send(json!({
        "to": ["Jane <jane@example.org>", "joe@example.org"],
        "subject": "Grüße",
        "body": "Before\n.\nAfter",
        "html": "<p>Before and after</p>",
        "attachments": [{ "filename": "report.csv", "content": report, "contentType": "text/csv" }],
    }));
    assert_eq!(output.await.unwrap()["accepted"], 2);
    let line = server.letters.next_line().await.unwrap().unwrap();
    let received: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(received["secured"], true);
    assert_eq!(
        received["to"],
        json!(["jane@example.org", "joe@example.org"])
    );
    let letter = received["letter"].as_str().unwrap();
    assert!(letter.contains("\r\nBefore\r\n.\r\nAfter\r\n"), "{letter}");
    assert!(letter.contains(report), "{letter}");
    let wrong = world.with("password", "wrong");
    let error = wrong.send(note()).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Authentication, "{error}");
}
