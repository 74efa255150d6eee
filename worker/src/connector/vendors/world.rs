//! A connector of ours, its vendor's stand-in, and a tool between them.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use toolroom_domain::{
    Clock, ErrorCategory, JobId, WorkspaceId,
    connector::{ActionType, TEST_CONNECTION, shown},
    job::{Progress, Receipt, SecretUse},
    tool::{ConnectorConfig, CredentialsRef},
};

use super::stand_in::{Day, StandIn, Vendor};
use crate::{
    connector::{Connectors, Engine, Surroundings, Wanted},
    executor::{
        Announced, CallError, EgressOptions, Journal, KeptCredentials, Level, Resolver,
        SecretStore, SecretValue, StoreError,
        egress::Egress,
        http::{Effects, Wire},
        rest::Templates,
        secrets::SecretSource,
    },
};

pub(super) struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-07-01T12:00:00Z".parse().unwrap()
    }
}

/// Nobody needs a name here: whoever asks for one has left the machine.
struct NoNames;

#[async_trait]
impl Resolver for NoNames {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        panic!("`{name}` would have been called")
    }
}

#[derive(Default)]
struct Book {
    receipts: Mutex<Vec<Receipt>>,
    announced: Mutex<Vec<Announced>>,
}

#[async_trait]
impl Journal for Book {
    fn progress(&self, _: Progress) {}

    fn line(&self, _: Level, _: &str, _: String) {}

    fn secrets_used(&self, _: Vec<SecretUse>) {}

    async fn secrets_recorded(&self) -> Result<(), CallError> {
        Ok(())
    }

    async fn sending(&self, _: Receipt, _: String) -> Result<(), CallError> {
        Ok(())
    }

    fn received(&self, receipt: Receipt) {
        self.receipts.lock().unwrap().push(receipt);
    }

    fn announced(&self, announced: Announced) {
        self.announced.lock().unwrap().push(announced);
    }

    fn exit_code(&self, _: i32) {}
}

struct Vault(Value);

#[async_trait]
impl SecretStore for Vault {
    async fn secret(&self, _: WorkspaceId, _: &str) -> Result<Option<SecretValue>, StoreError> {
        Ok(None)
    }

    async fn credentials(
        &self,
        _: WorkspaceId,
        _: &str,
    ) -> Result<Option<KeptCredentials>, StoreError> {
        Ok(Some(KeptCredentials {
            value: self.0.clone(),
            version: 1,
        }))
    }
}

/// The tool.
pub(super) struct World {
    pub(super) vendor: StandIn,
    kind: &'static str,
    engine: Engine,
    egress: Egress,
    book: Book,
    credentials: Value,
    config: Option<Value>,
}

impl World {
    /// A tool of `kind`, whose file says `there` for where the vendor is.
    pub(super) async fn new(kind: &'static str, there: &str, vendor: impl Vendor) -> Self {
        let vendor = StandIn::start(vendor).await;
        let origin = url::Url::parse(there).map(|url| url.origin().ascii_serialization());
        let text = file_of(kind).replace(
            &origin.unwrap_or_else(|_| "nowhere".to_owned()),
            &vendor.base,
        );
        let connectors = Connectors::of(&[(kind.to_owned(), text)]).unwrap();
        let egress = Egress::try_new(EgressOptions {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            resolver: Arc::new(NoNames),
        });
        Self {
            vendor,
            kind,
            engine: Engine::new(Arc::new(connectors)),
            egress: egress.unwrap(),
            book: Book::default(),
            credentials: json!({}),
            config: None,
        }
    }

    pub(super) fn with(mut self, credentials: Value) -> Self {
        self.credentials = credentials;
        self
    }

    /// With these settings.
    pub(super) fn set(mut self, config: Value) -> Self {
        self.config = Some(config);
        self
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.vendor.base)
    }

    /// With a webhook at this path of the vendor's, as the field of that name.
    pub(super) fn at(mut self, field: &str, path: &str) -> Self {
        self.credentials[field] = Value::from(self.url(path));
        self
    }

    /// Runs an action as a job does.
    pub(super) async fn run(&self, action: &str, input: Value) -> Result<Value, CallError> {
        self.call(action, input, false).await
    }

    /// Rehearses an action.
    pub(super) async fn rehearse(&self, action: &str, input: Value) -> Result<Value, CallError> {
        self.call(action, input, true).await
    }

    /// Tests the connection.
    pub(super) async fn test(&self) -> Result<Value, CallError> {
        self.call(TEST_CONNECTION, json!({}), false).await
    }

    async fn call(&self, action: &str, input: Value, is_test: bool) -> Result<Value, CallError> {
        let job = JobId::from_uuid(uuid::Uuid::from_u128(7));
        let effects = Arc::<Effects>::default();
        let wire = Wire::new(&self.egress, &self.book, &Noon, job, effects);
        let schema = self.spec().credentials_schema.clone();
        let around = Surroundings {
            wire: &wire,
            egress: &self.egress,
            templates: &Templates::new(),
            references: &SecretSource {
                store: Arc::new(Vault(self.credentials.clone())),
                listed: Arc::new([]),
                lookup: Arc::new(|_| None),
            },
            workspace: WorkspaceId::DEFAULT,
        };
        let config = ConnectorConfig {
            connector: self.kind.to_owned(),
            credentials: CredentialsRef {
                id: "credentials-1".to_owned(),
                version: 1,
                shown: shown(&schema, &self.credentials),
            },
            config: self.config.clone(),
        };
        let wanted = Wanted {
            config: &config,
            job,
            action: Some(action),
            input: &input,
            is_test,
        };
        self.engine.call(&around, wanted).await
    }

    fn spec(&self) -> &toolroom_domain::connector::ConnectorSpec {
        &self.engine.specs()[0]
    }

    /// How the calls so far ended: each receipt's status and outcome.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        self.book.receipts.lock().unwrap().clone()
    }

    /// What the vendor said last of its limit: calls that are left, and when there will be more.
    pub(super) fn limit(&self) -> (Option<u64>, Option<Duration>) {
        let told = self.book.announced.lock().unwrap().last().copied();
        told.map_or((None, None), |told| (told.remaining, told.reset_after))
    }

    /// What happens to each action on days that are not ordinary. `retry_after` is what the
    /// vendor's own 429 says.
    pub(super) async fn has_bad_days(
        &self,
        actions: &[(&str, Value)],
        retry_after: Option<Duration>,
    ) {
        for (action, input) in actions {
            self.vendor.is_on(Day::Busy);
            let busy = self.run(action, input.clone()).await.unwrap_err();
            assert_eq!(busy.category, ErrorCategory::RateLimit, "{action}: {busy}");
            assert!(
                busy.retryable,
                "{action}: whoever turns away has done nothing"
            );
            assert_eq!(busy.retry_after, retry_after, "{action}");
            self.vendor.is_on(Day::Broken);
            let broken = self.run(action, input.clone()).await.unwrap_err();
            assert_eq!(
                broken.category,
                ErrorCategory::ServerError,
                "{action}: {broken}"
            );
            // What may have been done is not done again.
            let queries = self.spec().action(action).unwrap().action_type == ActionType::Query;
            assert!(broken.retryable || !queries, "{action}: {broken}");
            self.vendor.is_on(Day::Ordinary);
        }
    }

    /// Whether all actions of the connector were among these.
    pub(super) fn covers(&self, actions: &[(&str, Value)]) {
        for action in &self.spec().actions {
            let covered = actions.iter().any(|(id, _)| *id == action.id);
            assert!(covered, "{} has no story", action.id);
        }
    }
}

/// The file of a type.
fn file_of(kind: &str) -> &'static str {
    let line = format!("\ntype: {kind}\n");
    let files = crate::connector::EMBEDDED.iter();
    let mut found = files.filter(|(_, text)| text.contains(&line));
    found.next().expect("there is a file").1
}

/// A refusal of a category whose message, or what the service said, holds these words. The message
/// tells nothing of what the call was given, which services say back.
pub(super) fn refuses(outcome: Result<Value, CallError>, category: ErrorCategory, words: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.category, category, "{error}: {:?}", error.details);
    let said = error.details.as_ref().map(|details| &details["body"]);
    let said = said.and_then(Value::as_str).unwrap_or_default();
    assert!(
        error.message.contains(words) || said.contains(words),
        "{error}: {said}"
    );
    let worth_repeating = matches!(
        category,
        ErrorCategory::RateLimit | ErrorCategory::ServerError | ErrorCategory::Timeout
    );
    assert!(worth_repeating || !error.retryable, "{error}");
}
