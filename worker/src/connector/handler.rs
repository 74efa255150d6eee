//! Protocols that are spoken in code: actions that no HTTP request carries out.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;
use toolroom_domain::Violation;

use super::email::Smtp;
use crate::executor::{egress::Egress, error::CallError, http::Wire, secrets::Secrets};

/// One call of an action that a handler carries out.
#[allow(dead_code, reason = "for the handlers to come")]
pub(crate) struct HandlerCall<'a, 'w> {
    /// The action's id; none for the connection test.
    pub(crate) action: Option<&'a str>,
    /// Checked against the connector's schema; references are resolved.
    pub(crate) credentials: &'a Value,
    /// Checked against the connector's schema; an empty object where the tool has none.
    pub(crate) config: &'a Value,
    /// Checked against the action's schema, defaults filled in.
    pub(crate) input: &'a Value,
    /// Steps, receipts and the clock.
    pub(crate) wire: &'a Wire<'w>,
    /// What may be reached.
    pub(crate) egress: &'a Egress,
    /// What must not be told.
    pub(crate) secrets: &'a mut Secrets,
}

/// Speaks a protocol.
#[async_trait]
pub(crate) trait Handler: Send + Sync {
    /// What is wrong with a tool's config beyond what its schema tells, paths relative to it.
    fn check_config(&self, config: &Value) -> Vec<Violation>;

    /// What a call would send, for a rehearsal. Nothing is sent. The caller masks.
    ///
    /// # Errors
    /// What is wrong with the input.
    fn render(
        &self,
        action: &str,
        credentials: &Value,
        config: &Value,
        input: &Value,
    ) -> Result<Value, CallError>;

    /// Carries an action out; of the connection test, `action` being none, gives details of the
    /// connection.
    ///
    /// # Errors
    /// Why it was not, or of an error of kind `OUTCOME_UNKNOWN` that nobody knows.
    async fn call(&self, call: HandlerCall<'_, '_>) -> Result<Value, CallError>;
}

/// The handlers that there are, by name.
pub(crate) struct Handlers(HashMap<&'static str, Arc<dyn Handler>>);

impl Handlers {
    /// All of them.
    pub(crate) fn built_in() -> Self {
        let mut handlers: HashMap<&'static str, Arc<dyn Handler>> = HashMap::new();
        handlers.insert("smtp", Arc::new(Smtp::new()));
        Self(handlers)
    }

    /// The handler of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.0.get(name)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
