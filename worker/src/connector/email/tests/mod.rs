//! Letters by SMTP, against a server that speaks the real protocol.

mod guarded;
mod letters;
pub(in crate::connector) mod post_office;
mod real;
mod refusals;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use toolroom_domain::{
    Clock, JobId, WorkspaceId,
    job::{Progress, Receipt, ReceiptOutcome, SecretUse},
};

use self::post_office::{Manner, PASSWORD, PostOffice, USERNAME};
use super::*;
use crate::executor::{
    EgressOptions, Journal, Level, egress::Egress, http::Effects, secrets::Secrets,
};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-07-01T12:00:00Z".parse().unwrap()
    }
}

/// Keeps receipts.
#[derive(Default)]
struct Book {
    told: Mutex<Vec<(&'static str, Receipt)>>,
    /// Of secrets nothing can be recorded.
    is_closed: bool,
}

impl Book {
    /// Each as `sending UNKNOWN`, `received ANSWERED 250` and so on.
    fn entries(&self) -> Vec<String> {
        let entries = self.told.lock().unwrap();
        let entry = |(when, receipt): &(&str, Receipt)| {
            let status = receipt.status.map(|s| format!(" {s}")).unwrap_or_default();
            format!("{when} {:?}{status}", receipt.outcome)
        };
        entries.iter().map(entry).collect()
    }
}

#[async_trait]
impl Journal for Book {
    fn progress(&self, _: Progress) {}

    fn line(&self, _: Level, _: &str, _: String) {}

    fn secrets_used(&self, _: Vec<SecretUse>) {}

    async fn secrets_recorded(&self) -> Result<(), CallError> {
        match self.is_closed {
            true => Err(CallError::cancelled()),
            false => Ok(()),
        }
    }

    async fn sending(&self, receipt: Receipt, _: String) -> Result<(), CallError> {
        assert_eq!(receipt.outcome, ReceiptOutcome::Unknown);
        self.told.lock().unwrap().push(("sending", receipt));
        Ok(())
    }

    fn received(&self, receipt: Receipt) {
        self.told.lock().unwrap().push(("received", receipt));
    }

    fn exit_code(&self, _: i32) {}
}

/// One attempt of a job at one server.
struct World {
    office: PostOffice,
    egress: Egress,
    book: Book,
    effects: Arc<Effects>,
    credentials: Value,
    config: Value,
}

impl World {
    /// A server by STARTTLS, reached by credentials that it takes.
    async fn new(manner: Manner) -> Self {
        Self::of(PostOffice::open(manner).await)
    }

    fn of(office: PostOffice) -> Self {
        let credentials = json!({
            "host": "127.0.0.1",
            "port": office.address.port(),
            "username": USERNAME,
            "password": PASSWORD,
            "from": "Toolroom <toolroom@example.com>",
            "caCertificate": office.authority,
        });
        let egress = Egress::try_new(EgressOptions {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            ..EgressOptions::default()
        });
        Self {
            office,
            egress: egress.unwrap(),
            book: Book::default(),
            effects: Arc::default(),
            credentials,
            config: json!({}),
        }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.credentials[name] = value.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.credentials.as_object_mut().unwrap().remove(name);
        self
    }

    async fn act(&self, action: Option<&str>, input: &Value) -> Result<Value, CallError> {
        let job = JobId::from_uuid(uuid::Uuid::from_u128(7));
        let effects = Arc::clone(&self.effects);
        let wire = Wire::new(&self.egress, &self.book, &Noon, job, effects);
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        secrets.also(PASSWORD.to_owned());
        let call = HandlerCall {
            action,
            credentials: &self.credentials,
            config: &self.config,
            input,
            wire: &wire,
            egress: &self.egress,
            secrets: &mut secrets,
        };
        Smtp::new().call(call).await
    }

    async fn send(&self, input: Value) -> Result<Value, CallError> {
        self.act(Some("email.send"), &input).await
    }

    /// The only letter that was taken.
    fn letter(&self) -> post_office::Received {
        let received = self.office.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].clone()
    }
}

fn note() -> Value {
    json!({ "to": "jane@example.org", "subject": "Hello", "body": "A note." })
}
