//! A master key that a program fetches, from a key management service for example.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use toolroom_eventlog::vault::{Error, MasterKey};
use zeroize::Zeroizing;

use crate::config::CommandLine;

/// How long the program may take: a service far away answers within seconds.
const WITHIN: Duration = Duration::from_secs(30);

/// Bytes that are read of what it prints: a key has 44.
const OUTPUT_BYTES: u64 = 4 * 1024;

/// Bytes of its complaints that are told.
const COMPLAINT_BYTES: u64 = 2 * 1024;

/// Runs the program, which prints the key in base64 on its standard output. What it prints there is
/// never told; its standard error is, when it fails.
///
/// # Errors
/// When it cannot be run, takes too long, fails, or prints no key.
pub async fn ask(command: &CommandLine) -> Result<MasterKey, Error> {
    ask_within(command, WITHIN).await
}

async fn ask_within(command: &CommandLine, within: Duration) -> Result<MasterKey, Error> {
    let failed = |what: String| {
        Error::MasterKey(format!(
            "the master key command `{}` {what}",
            command.program
        ))
    };
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(within, async {
        tokio::join!(
            beginning(stdout, OUTPUT_BYTES),
            beginning(stderr, COMPLAINT_BYTES),
            child.wait(),
        )
    });
    let (printed, complaint, status) = ended
        .await
        .map_err(|_| failed(format!("took longer than {within:?}")))?;
    let status = status.map_err(|error| failed(format!("was lost: {error}")))?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        return Err(failed(match complaint.trim() {
            "" => format!("ended with {status}"),
            complaint => format!("ended with {status}: {complaint}"),
        }));
    }
    let text = std::str::from_utf8(&printed).unwrap_or_default();
    MasterKey::from_base64(text).map_err(|error| failed(format!("printed no key: {error}")))
}

/// The first bytes of a stream; the rest is read too, so that nobody waits for it to be.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, bytes: u64) -> Zeroizing<Vec<u8>> {
    // Never moved to a larger place, which would leave a copy behind.
    let mut read = Zeroizing::new(Vec::with_capacity(
        usize::try_from(bytes).unwrap_or_default(),
    ));
    if let Some(stream) = stream {
        let mut first = stream.take(bytes);
        // What breaks off is no key, or less of a complaint.
        let _ = first.read_to_end(&mut read).await;
        let _ = tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await;
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn shell(script: &str) -> CommandLine {
        CommandLine {
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        }
    }

    async fn complaint(command: &CommandLine) -> String {
        ask(command).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_program_prints_the_key() {
        let key = ask(&shell(&format!("echo warned >&2; echo {KEY}")))
            .await
            .unwrap();
        assert_eq!(key.id(), MasterKey::from_base64(KEY).unwrap().id());
    }

    #[tokio::test]
    async fn why_it_failed_is_told_and_what_it_printed_is_not() {
        let told = complaint(&shell(&format!("echo {KEY}; echo no access >&2; exit 3"))).await;
        assert!(told.contains("exit status: 3: no access"), "{told}");
        assert!(!told.contains(KEY), "{told}");
        let told = complaint(&shell("echo hunter2")).await;
        assert!(
            told.contains("32 bytes in base64") && !told.contains("hunter2"),
            "{told}"
        );
        let missing = CommandLine {
            program: "/no/such/program".to_owned(),
            arguments: Vec::new(),
        };
        let told = complaint(&missing).await;
        assert!(
            told.contains("/no/such/program") && told.contains("cannot be run"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_program_that_prints_without_end_is_not_waited_for_with_full_memory() {
        let told = complaint(&shell("yes | head -c 10000000")).await;
        assert!(told.contains("printed no key"), "{told}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended() {
        let hangs = shell("exec sleep 600");
        let error = ask_within(&hangs, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("took longer than 50ms"),
            "{error}"
        );
    }
}
