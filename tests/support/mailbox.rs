//! A mail server on loopback that speaks SMTP, and keeps letters or refuses them.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail server. Ends when dropped.
pub struct Mailbox {
    pub url: String,
    letters: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Mailbox {
    /// Takes every letter.
    pub async fn open() -> Self {
        Self::with(true).await
    }

    /// Takes none.
    pub async fn closed() -> Self {
        Self::with(false).await
    }

    async fn with(is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let letters: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&letters);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let _ = converse(stream, is_open, &kept).await;
                });
            }
        });
        Self { url, letters, task }
    }

    /// The letters that were taken, as they were sent.
    pub fn letters(&self) -> Vec<String> {
        self.letters.lock().expect("no test panicked").clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    stream: TcpStream,
    is_open: bool,
    letters: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.example ESMTP\r\n").await?;
    let mut letter: Option<String> = None;
    while let Some(line) = lines.next_line().await? {
        if let Some(text) = &mut letter {
            if line != "." {
                *text += &line;
                text.push('\n');
                continue;
            }
            letters
                .lock()
                .expect("no test panicked")
                .extend(letter.take());
        }
        let answer = match line.split([' ', ':']).next() {
            Some("DATA") => {
                letter = Some(String::new());
                "354 go on"
            }
            Some("RCPT") if !is_open => "550 no such mailbox",
            Some("QUIT") => "221 bye",
            _ => "250 ok",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
