//! A connector in a file, a tool of it, and what its calls tell.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    JobId, ToolId, WorkspaceId,
    job::{Progress, Receipt, SecretUse},
    tool::{ConnectorConfig, CredentialsRef, Definition, PolicyOverrides, ToolConfig},
};

use crate::{
    connector::Connectors,
    executor::{
        Announced, Call, CallError, Executor, Journal, KeptCredentials, Level, Options, Pacing,
        SecretStore, SecretValue, StoreError, tests::support::options,
    },
};

/// The credentials of all tools, by id.
#[derive(Default)]
pub(super) struct Kept(pub(super) Mutex<HashMap<String, KeptCredentials>>);

/// A store that does not answer.
struct Away;

#[async_trait]
impl SecretStore for Away {
    async fn secret(&self, _: WorkspaceId, _: &str) -> Result<Option<SecretValue>, StoreError> {
        Err(StoreError("the database is away".to_owned()))
    }

    async fn credentials(
        &self,
        _: WorkspaceId,
        _: &str,
    ) -> Result<Option<KeptCredentials>, StoreError> {
        Err(StoreError("the database is away".to_owned()))
    }
}

#[async_trait]
impl SecretStore for Kept {
    async fn secret(&self, _: WorkspaceId, _: &str) -> Result<Option<SecretValue>, StoreError> {
        Ok(None)
    }

    async fn credentials(
        &self,
        _: WorkspaceId,
        id: &str,
    ) -> Result<Option<KeptCredentials>, StoreError> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }
}

/// Where the credentials of a story's tool are kept.
const CREDENTIALS: &str = "tool/1";

/// The version of a story's tool.
const VERSION: u32 = 3;

/// What a run told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) secrets: Mutex<Vec<SecretUse>>,
    pub(super) receipts: Mutex<Vec<Receipt>>,
    pub(super) announced: Mutex<Vec<Announced>>,
    pub(super) progress: Mutex<Vec<Progress>>,
    /// Requests that asked whether they may leave.
    pub(super) requests: AtomicU32,
}

#[async_trait]
impl Pacing for Told {
    async fn next_request(&self) -> Result<(), CallError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Journal for Told {
    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }

    fn line(&self, _: Level, _: &str, _: String) {}

    fn secrets_used(&self, secrets: Vec<SecretUse>) {
        self.secrets.lock().unwrap().extend(secrets);
    }

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

/// A tool of a connector that a story writes.
pub(super) struct Story {
    executor: Executor,
    kept: Arc<Kept>,
    pub(super) definition: Definition,
    pub(super) told: Told,
}

/// The file of a connector with these parts beside what each file needs.
pub(super) fn file(parts: Value) -> Value {
    let mut file = json!({
        "$schema": "./schema.json",
        "type": "STORY",
        "name": "Story",
        "description": "For stories.",
        "credentials": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "url": {"type": "string"},
                "hook": {"type": "string", "format": "uri", "writeOnly": true},
                "token": {"type": "string", "minLength": 6, "writeOnly": true},
                "retries": {"type": "integer", "default": 3},
            },
        },
        "base_url": "{{ credentials.url }}",
    });
    for (name, part) in parts.as_object().unwrap() {
        file[name] = part.clone();
    }
    file
}

/// An action with these parts beside what each action needs.
pub(super) fn action(parts: Value) -> Value {
    let mut action = json!({
        "id": "story.act",
        "name": "Act",
        "description": "Acts.",
        "action_type": "create",
        "input": {"type": "object"},
        "requests": [{}],
        "examples": [{"name": "One", "credentials": {"url": "https://a.test"}, "input": {}}],
    });
    for (name, part) in parts.as_object().unwrap() {
        action[name] = part.clone();
    }
    action
}

/// The connectors of one file, as JSON: YAML takes that too.
pub(super) fn connectors(file: &Value) -> Result<Connectors, crate::connector::LoadError> {
    Connectors::of(&[("story.yaml".to_owned(), file.to_string())])
}

impl Story {
    /// A tool of the connector that a file describes, with these credentials.
    pub(super) fn new(file: &Value, credentials: Value) -> Self {
        let kept = Arc::new(Kept::default());
        let store = Arc::clone(&kept) as Arc<dyn SecretStore>;
        let story = Self::over(store, kept, file, &credentials);
        story.replace(credentials, VERSION);
        story
    }

    /// Keeps other credentials in the place of those that were kept, as of a version of the tool.
    pub(super) fn replace(&self, value: Value, version: u32) {
        let mut all = self.kept.0.lock().unwrap();
        all.insert(CREDENTIALS.to_owned(), KeptCredentials { value, version });
    }

    /// The same, when the store with its credentials is away.
    pub(super) fn with_store_away(file: &Value, credentials: &Value) -> Self {
        Self::over(Arc::new(Away), Arc::default(), file, credentials)
    }

    fn over(
        secrets: Arc<dyn SecretStore>,
        kept: Arc<Kept>,
        file: &Value,
        credentials: &Value,
    ) -> Self {
        let connectors = Arc::new(connectors(file).unwrap_or_else(|e| panic!("{e}")));
        let shown = toolroom_domain::connector::shown(
            &connectors.specs()[0].credentials_schema,
            credentials,
        );
        let executor = Executor::try_new(Options {
            secrets,
            connectors,
            ..options(&["127.0.0.0/8"])
        });
        let config = ConnectorConfig {
            connector: "STORY".to_owned(),
            credentials: CredentialsRef {
                id: CREDENTIALS.to_owned(),
                version: VERSION,
                shown,
            },
            config: None,
        };
        Self {
            executor: executor.unwrap(),
            kept,
            definition: Definition {
                config: ToolConfig::Connector(Box::new(config)),
                input_schema: json!({"type": "object"}),
                output_schema: None,
                policy: PolicyOverrides::default(),
                requires_approval: false,
            },
            told: Told::default(),
        }
    }

    pub(super) async fn run(&self, input: Value) -> Result<Value, CallError> {
        self.call(None, input, false).await
    }

    pub(super) async fn call(
        &self,
        action: Option<&str>,
        input: Value,
        is_test: bool,
    ) -> Result<Value, CallError> {
        let call = Call {
            workspace: WorkspaceId::DEFAULT,
            job: JobId::from_uuid(uuid::Uuid::from_u128(7)),
            attempt: 1,
            tool: ToolId::from_uuid(uuid::Uuid::from_u128(1)),
            version: 4,
            definition: &self.definition,
            action,
            input: &input,
            is_test,
            journal: &self.told,
            pacing: &self.told,
            cancel: CancellationToken::new(),
        };
        self.executor.run(call).await
    }
}
