//! Letters handed to a mail server that speaks the real protocol.

use std::{net::SocketAddr, sync::Mutex};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// What a server does with letters.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Takes,
    RefusesRecipients,
    RepeatsTheLetterInItsRefusal,
    SaysNothing,
    SpeaksHttp,
}

/// A mail server that keeps what it hears.
struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::default();
        tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(converse(stream, manner, Arc::clone(&heard)));
                }
            }
        });
        Self { address, heard }
    }

    fn mailer(&self) -> SmtpMailer {
        mailer(&format!("smtp://{}", self.address)).unwrap()
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join("\n")
    }
}

async fn converse(
    stream: TcpStream,
    manner: Manner,
    heard: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    match manner {
        Manner::SaysNothing => return std::future::pending().await,
        Manner::SpeaksHttp => return write.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        _ => write.write_all(b"220 mail.example ESMTP\r\n").await?,
    }
    let mut in_letter = false;
    while let Some(line) = lines.next_line().await? {
        heard.lock().unwrap().push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        let answer = match (in_letter, verb, manner) {
            (true, ".", Manner::RepeatsTheLetterInItsRefusal) => {
                in_letter = false;
                format!("554 spam: {}", heard.lock().unwrap().join(" "))
            }
            (true, ".", _) => {
                in_letter = false;
                "250 kept".to_owned()
            }
            (true, ..) => continue,
            (_, "EHLO", _) => "250-mail.example\r\n250 8BITMIME".to_owned(),
            (_, "RCPT", Manner::RefusesRecipients) => "550 no such mailbox".to_owned(),
            (_, "DATA", _) => {
                in_letter = true;
                "354 go on".to_owned()
            }
            (_, "QUIT", _) => "221 bye".to_owned(),
            _ => "250 ok".to_owned(),
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn mailer(url: &str) -> Result<SmtpMailer, SetupError> {
    let server = SmtpServer::try_new(url, "Toolroom <toolroom@example.com>")?;
    Ok(SmtpMailer::new(server, Arc::new(StoppedClock)))
}

fn letter() -> Mail {
    Mail {
        to: "jane@example.org".to_owned(),
        subject: "An invitation für Jane".to_owned(),
        text: "Follow https://tools.example/?token=s3cret\n.\nBye".to_owned(),
    }
}

#[tokio::test]
async fn a_letter_is_handed_over_as_it_was_written() {
    let server = Server::start(Manner::Takes).await;
    server.mailer().send(letter()).await.unwrap();
    let heard = server.heard();
    for line in [
        "MAIL FROM:<toolroom@example.com>",
        "RCPT TO:<jane@example.org>",
        "From: Toolroom <toolroom@example.com>",
        "To: jane@example.org",
        "Date: Thu, 01 Jan 1970 00:00:00 +0000",
        "Auto-Submitted: auto-generated",
        // A line that is a dot does not end the letter.
        "..",
        "Bye",
    ] {
        assert!(
            heard.lines().any(|l| l.starts_with(line)),
            "{line}: {heard}"
        );
    }
    assert!(heard.contains("token"), "{heard}");
}

#[tokio::test]
async fn a_refusal_tells_its_code_and_nothing_of_the_letter() {
    for (manner, code) in [
        (Manner::RefusesRecipients, "550"),
        (Manner::RepeatsTheLetterInItsRefusal, "554"),
    ] {
        let server = Server::start(manner).await;
        let MailError(error) = server.mailer().send(letter()).await.unwrap_err();
        assert!(error.contains(code), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_mail_server_is_told_as_such() {
    let server = Server::start(Manner::SpeaksHttp).await;
    assert!(server.mailer().send(letter()).await.is_err());
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let gone = mailer(&format!("smtp://{address}")).unwrap();
    let MailError(error) = gone.send(letter()).await.unwrap_err();
    assert!(error.contains("cannot be spoken to"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_not_waited_for_longer_than_a_person_would() {
    let server = Server::start(Manner::SaysNothing).await;
    let began = tokio::time::Instant::now();
    assert!(server.mailer().send(letter()).await.is_err());
    assert!(began.elapsed() <= SENT_WITHIN);
}

#[tokio::test]
async fn a_letter_does_not_go_out_in_the_clear_when_tls_is_required() {
    let server = Server::start(Manner::Takes).await;
    let url = format!("smtp://{}?tls=required", server.address);
    assert!(mailer(&url).unwrap().send(letter()).await.is_err());
    let heard = server.heard();
    assert!(heard.contains("EHLO") && !heard.contains("DATA"), "{heard}");
}

#[tokio::test]
async fn an_address_that_smtp_cannot_carry_is_refused() {
    let server = Server::start(Manner::Takes).await;
    let mail = Mail {
        to: "jane@exa mple.org\r\nDATA".to_owned(),
        ..letter()
    };
    assert!(server.mailer().send(mail).await.is_err());
    assert_eq!(server.heard(), "");
}

#[test]
fn wrong_settings_are_told_by_their_key_and_never_by_their_text() {
    let refusal = |url: &str| mailer(url).map(|_| ()).unwrap_err();
    for url in [
        "",
        "mail",
        "https://a:pass@mail.example",
        "smtp://mail.example/path",
    ] {
        assert_eq!(refusal(url), SetupError::Url, "{url}");
    }
    for url in [
        "smtp://mail.example?tls=maybe",
        "smtp://mail.example?tls=none&tls=none",
        "smtp://mail.example?auth=plain",
        "smtps://mail.example?tls=none",
    ] {
        assert_eq!(refusal(url), SetupError::Parameter, "{url}");
    }
    for url in [
        "smtp://jane:pass@mail.example?tls=none",
        "smtp://jane:pass@mail.example?tls=opportunistic",
    ] {
        assert_eq!(refusal(url), SetupError::BarePassword, "{url}");
    }
    for url in [
        "smtp://127.0.0.1",
        "smtp://[::1]:25",
        "smtp://jane:p%40ss@localhost:25",
        "smtp://mail.example?tls=none",
        "smtp://jane:pass@mail.example",
        "smtps://jane:pass@mail.example:465",
    ] {
        assert!(mailer(url).is_ok(), "{url}");
    }
    let from = SmtpServer::try_new("smtp://localhost", "nobody");
    assert_eq!(from.map(|_| ()).unwrap_err(), SetupError::From);
    assert!(!format!("{:?}", letter()).contains("s3cret"));
}
