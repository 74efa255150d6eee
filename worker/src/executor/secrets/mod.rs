//! References to secrets, and keeping their values out of everything that is told.

mod mask;
mod store;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde_json::Value;
use toolroom_domain::{WorkspaceId, job::SecretUse, secret};
use zeroize::Zeroizing;

use self::mask::Mask;
pub(crate) use self::store::SecretSource;
pub use self::store::{
    EnvLookup, KeptCredentials, NoSecrets, SecretStore, SecretValue, StoreError,
};
use super::{
    error::CallError,
    journal::Journal,
    schema::{INLINE_BYTES, serialised_bytes},
};

/// Shorter secrets are masked in outputs only where they are a whole value: within a text such as
/// `order 12345`, or as `true`, they may be honest.
const OUTPUT_MASK_BYTES: usize = 6;
/// Still shorter ones are not masked in outputs at all: too many honest values are like them.
const WHOLE_MASK_BYTES: usize = 3;
/// What JSON has words for is no secret in an output.
const HONEST: &[&str] = &["true", "false", "null"];

/// The name within a reference such as `${API_KEY}`.
pub(crate) fn reference(text: &str) -> Option<&str> {
    secret::reference(text)
}

/// The secrets that one call uses. Knows them so as to mask them.
pub(crate) struct Secrets {
    workspace: WorkspaceId,
    values: Vec<Zeroizing<String>>,
    used: Vec<SecretUse>,
    /// How many of those used were told to the journal.
    told: Mutex<usize>,
    masks: OnceLock<Masks>,
}

/// What looks for the values: made when something is masked, and again when there are more.
#[derive(Clone, Default)]
struct Masks {
    /// For what is told of errors.
    all: Option<Arc<Mask>>,
    /// For outputs.
    long: Option<Arc<Mask>>,
    /// For whole values of outputs.
    short: Option<Arc<Mask>>,
}

impl Secrets {
    /// None yet, of a call of this workspace.
    pub(crate) fn of(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            values: Vec::new(),
            used: Vec::new(),
            told: Mutex::new(0),
            masks: OnceLock::new(),
        }
    }

    /// The value of a reference.
    ///
    /// # Errors
    /// When the text is no reference, or there is no such secret.
    pub(crate) async fn resolve(
        &mut self,
        source: &SecretSource,
        text: &str,
    ) -> Result<Zeroizing<String>, CallError> {
        let name = reference(text).ok_or_else(|| {
            CallError::invalid("`secret_ref` must be a reference such as ${API_KEY}")
        })?;
        let found = source.find(self.workspace, name).await?;
        let used = SecretUse {
            name: name.to_owned(),
            version: found.version,
        };
        if !self.used.contains(&used) {
            self.used.push(used);
        }
        self.keep(found.text.clone());
        Ok(found.text)
    }

    /// Takes the value of a reference for a secret, if there is one: nothing is sent with it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn learn(
        &mut self,
        source: &SecretSource,
        text: &str,
    ) -> Result<(), StoreError> {
        let Some(name) = reference(text) else {
            return Ok(());
        };
        if let Some(found) = source.kept(self.workspace, name).await? {
            self.keep(found.text);
        }
        Ok(())
    }

    /// Takes the text that a secret became part of for a secret too.
    pub(crate) fn also(&mut self, derived: String) {
        self.keep(Zeroizing::new(derived));
    }

    fn keep(&mut self, value: Zeroizing<String>) {
        if !value.is_empty() && !self.values.contains(&value) {
            self.values.push(value);
            self.masks = OnceLock::new();
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Tells the journal which secrets were used, each once.
    pub(crate) fn tell(&self, journal: &dyn Journal) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told < self.used.len() {
            journal.secrets_used(self.used[*told..].to_vec());
            *told = self.used.len();
        }
    }

    fn masks(&self) -> &Masks {
        self.masks.get_or_init(|| {
            let values = || self.values.iter().map(|value| value.as_str());
            let is_long = |value: &&str| value.len() >= OUTPUT_MASK_BYTES;
            let all = Mask::of(values()).map(Arc::new);
            let long = match values().all(|value| is_long(&value)) {
                true => all.clone(),
                false => Mask::of(values().filter(is_long)).map(Arc::new),
            };
            let is_short = |value: &&str| {
                (WHOLE_MASK_BYTES..OUTPUT_MASK_BYTES).contains(&value.len())
                    && !HONEST.contains(value)
            };
            let short = Mask::whole(values().filter(is_short)).map(Arc::new);
            Masks { all, long, short }
        })
    }

    /// A text without the secrets, in any form in which they travel.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mask = self.masks().all.as_ref();
        let masked = mask.and_then(|mask| mask.masked(text));
        masked.unwrap_or_else(|| text.to_owned())
    }

    /// An error without the secrets, whatever in it comes from the other side: in all texts of its
    /// details, names of fields too, and in its message, whose own words short secrets leave as they
    /// are.
    pub(crate) fn mask_error(&self, mut error: CallError) -> CallError {
        let masks = self.masks();
        if let Some(masked) = masks.long.as_ref().and_then(|m| m.masked(&error.message)) {
            error.message = masked;
        }
        if let (Some(mask), Some(details)) = (&masks.all, &mut error.details) {
            mask.mask_value(details);
        }
        error
    }

    /// An output without the secrets, in all its texts and names of fields: a service that says back
    /// what it was sent must not tell the caller what they may not know. A large one on a thread of
    /// its own.
    pub(crate) async fn masked_output(&self, output: Value) -> Value {
        let Masks { long, short, .. } = self.masks().clone();
        if long.is_none() && short.is_none() {
            return output;
        }
        let mask = move |mut output: Value| {
            for mask in [long, short].iter().flatten() {
                mask.mask_value(&mut output);
            }
            output
        };
        if serialised_bytes(&output) <= INLINE_BYTES {
            return mask(output);
        }
        let masked = tokio::task::spawn_blocking(move || mask(output));
        // Nothing is told rather than what was not looked through.
        masked.await.unwrap_or(Value::Null)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::json;

    use super::*;

    /// The secrets of `default`, where one of the environment's is hidden by a stored one.
    struct Stored;

    #[async_trait]
    impl SecretStore for Stored {
        async fn secret(
            &self,
            workspace: WorkspaceId,
            name: &str,
        ) -> Result<Option<SecretValue>, StoreError> {
            let found = |text: &str| SecretValue {
                text: Zeroizing::new(text.to_owned()),
                version: 3,
            };
            match (workspace, name) {
                (_, "AWAY") => Err(StoreError("the database is away".to_owned())),
                (WorkspaceId::DEFAULT, "STORED" | "BOTH") => Ok(Some(found("a stored value"))),
                _ => Ok(None),
            }
        }

        async fn credentials(
            &self,
            _: WorkspaceId,
            _: &str,
        ) -> Result<Option<KeptCredentials>, StoreError> {
            Ok(None)
        }
    }

    fn source() -> SecretSource {
        SecretSource {
            store: Arc::new(Stored),
            listed: ["API_KEY", "EMPTY", "BOTH"].map(str::to_owned).into(),
            lookup: Arc::new(|name| match name {
                "EMPTY" => Some(String::new()),
                _ => Some(format!("value of {name}")),
            }),
        }
    }

    async fn resolved(secrets: &mut Secrets, text: &str) -> Result<String, CallError> {
        let value = secrets.resolve(&source(), text).await;
        value.map(|value| value.to_string())
    }

    #[tokio::test]
    async fn a_secret_of_the_workspace_comes_before_a_listed_variable() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        for (text, value) in [
            ("${STORED}", "a stored value"),
            ("${BOTH}", "a stored value"),
            ("${API_KEY}", "value of API_KEY"),
        ] {
            assert_eq!(resolved(&mut secrets, text).await.as_deref(), Ok(value));
        }
        for hidden in ["${PATH}", "${EMPTY}", "API_KEY", "${}", "${A B}", "${1A}"] {
            assert!(resolved(&mut secrets, hidden).await.is_err(), "{hidden}");
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
        let used: Vec<_> = secrets
            .used
            .iter()
            .map(|u| (u.name.as_str(), u.version))
            .collect();
        assert_eq!(used, [("STORED", 3), ("BOTH", 3), ("API_KEY", 0)]);
    }

    #[tokio::test]
    async fn the_operators_variables_serve_no_other_workspace() {
        let mut secrets = Secrets::of(WorkspaceId::NONE);
        let refused = resolved(&mut secrets, "${API_KEY}").await.unwrap_err();
        assert!(
            refused.to_string().contains("no secret `API_KEY`"),
            "{refused}"
        );
        assert!(!refused.to_string().contains("env_secrets"), "{refused}");
        assert!(!refused.retryable);
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_told_as_such_and_worth_another_try() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        let failed = resolved(&mut secrets, "${AWAY}").await.unwrap_err();
        assert!(
            failed.retryable && failed.to_string().contains("`AWAY`"),
            "{failed}"
        );
    }

    #[tokio::test]
    async fn outputs_lose_long_secrets_and_keep_short_words() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        secrets.also("sesame-open".to_owned());
        secrets.also("true".to_owned());
        let output = json!({"a": ["say sesame-open!", "true"], "b": true});
        assert_eq!(
            secrets.masked_output(output).await,
            json!({"a": ["say ***!", "true"], "b": true})
        );
        assert_eq!(secrets.mask("sesame-open is true"), "*** is ***");
    }

    #[tokio::test]
    async fn a_short_secret_is_masked_where_it_is_a_whole_value() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        for value in ["4711", "abc", "42", "sesame-open"] {
            secrets.also(value.to_owned());
        }
        let output = json!({
            "pin": "4711", "number": 4711, "list": ["abc", "YWJj", "%61bc"], "4711": 1,
            "order": "order 4711", "next": 47110, "abcd": "abcd", "two": ["42", 42],
            "long": "it is sesame-open",
        });
        let masked = json!({
            "pin": "***", "number": "***", "list": ["***", "***", "***"], "***": 1,
            "order": "order 4711", "next": 47110, "abcd": "abcd", "two": ["42", 42],
            "long": "it is ***",
        });
        assert_eq!(secrets.masked_output(output).await, masked);
    }

    #[test]
    fn an_error_is_masked_as_a_whole() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        secrets.also("sesame-open".to_owned());
        secrets.also("the".to_owned());
        let error = CallError::invalid("the type sesame-open is none").with_details(json!({
            "contentType": "text/sesame-open", "sesame-open": { "said": "the" },
        }));
        let error = secrets.mask_error(error);
        assert_eq!(error.message, "the type *** is none");
        let details = json!({ "contentType": "text/***", "***": { "said": "***" } });
        assert_eq!(error.details, Some(details));
    }

    #[tokio::test]
    async fn a_large_output_is_masked_as_well() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        secrets.also("sesame-open".to_owned());
        let output = json!(vec!["say sesame-open!"; INLINE_BYTES / 8]);
        let masked = secrets.masked_output(output).await;
        assert!(
            masked
                .as_array()
                .unwrap()
                .iter()
                .all(|item| item == "say ***!")
        );
    }
}
