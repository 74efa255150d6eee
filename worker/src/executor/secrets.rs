//! References to secrets, and keeping their values out of everything that is told.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use toolroom_domain::{ErrorCategory, WorkspaceId};
use zeroize::Zeroizing;

use super::error::CallError;

/// What stands where a secret stood.
const MASK: &str = "***";
/// Shorter secrets are masked in errors but not in outputs, where `1` or `true` may be honest.
const OUTPUT_MASK_BYTES: usize = 8;
/// Characters in a secret's name.
const NAME_CHARS: usize = 128;

/// A secret's value, as it goes to the other side. Never printed.
#[derive(Clone)]
pub struct SecretValue {
    /// The value; erased from memory when it is dropped.
    pub text: Zeroizing<String>,
    /// Which version of the secret it is.
    pub version: u32,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue(version {})", self.version)
    }
}

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secrets could not be read: {0}")]
pub struct StoreError(pub String);

/// Holds the workspaces' secrets, and the credentials of their tools.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// The secret of a name, if the workspace has one.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretValue>, StoreError>;

    /// The credentials of an id, as JSON, if the workspace has them.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn credentials(
        &self,
        workspace: WorkspaceId,
        id: &str,
    ) -> Result<Option<Value>, StoreError>;
}

/// A store that holds nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn secret(&self, _: WorkspaceId, _: &str) -> Result<Option<SecretValue>, StoreError> {
        Ok(None)
    }

    async fn credentials(&self, _: WorkspaceId, _: &str) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }
}

/// Looks a variable of the server's environment up.
pub type EnvLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The name within a reference such as `${API_KEY}`.
pub(super) fn reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let well_formed = name.len() <= NAME_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    well_formed.then_some(name)
}

/// Where secrets come from: variables of the environment that the operator listed. They are the
/// operator's own, and so serve the workspace `default` alone.
#[derive(Clone)]
pub(super) struct SecretSource {
    pub(super) listed: Arc<[String]>,
    pub(super) lookup: EnvLookup,
}

impl SecretSource {
    fn find(&self, workspace: WorkspaceId, name: &str) -> Result<String, CallError> {
        let listed = workspace == WorkspaceId::DEFAULT && self.listed.iter().any(|n| n == name);
        let value = listed.then(|| (self.lookup)(name)).flatten();
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            CallError::failed(
                ErrorCategory::Authentication,
                format!(
                    "the secret `{name}` is not available; for tools of the workspace `default` the \
                     operator can set it in the server's environment and list it in `env_secrets`"
                ),
            )
        })
    }
}

/// The secrets that one call uses. Knows them so as to mask them.
pub(crate) struct Secrets {
    workspace: WorkspaceId,
    values: Vec<String>,
}

impl Secrets {
    /// None yet, of a call of this workspace.
    pub(super) fn of(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            values: Vec::new(),
        }
    }

    /// The value of a reference.
    pub(super) fn resolve(
        &mut self,
        source: &SecretSource,
        text: &str,
    ) -> Result<String, CallError> {
        let name = reference(text).ok_or_else(|| {
            CallError::invalid("`secret_ref` must be a reference such as ${API_KEY}")
        })?;
        let value = source.find(self.workspace, name)?;
        self.values.push(value.clone());
        Ok(value)
    }

    /// Takes the text that a secret became part of for a secret too.
    pub(super) fn also(&mut self, derived: String) {
        self.values.push(derived);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A text without the secrets, in any form in which they travel.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut forms: Vec<String> = self.values.iter().flat_map(|v| forms(v)).collect();
        // A form may lie within another one: the longest goes first.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms
            .iter()
            .fold(text.to_owned(), |text, form| text.replace(form, MASK))
    }

    /// Masks the secrets in all texts of an output: a service that says back what it was sent must
    /// not tell the caller what only the operator knows.
    pub(super) fn mask_output(&self, output: &mut Value) {
        if self.values.iter().all(|v| v.len() < OUTPUT_MASK_BYTES) {
            return;
        }
        match output {
            Value::String(text) => {
                for value in self.values.iter().filter(|v| v.len() >= OUTPUT_MASK_BYTES) {
                    if text.contains(value.as_str()) {
                        *text = text.replace(value.as_str(), MASK);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_output(item)),
            Value::Object(fields) => fields.values_mut().for_each(|f| self.mask_output(f)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn forms(value: &str) -> [String; 4] {
    let quoted = Value::from(value).to_string();
    [
        value.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
        BASE64.encode(value),
    ]
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn source() -> SecretSource {
        SecretSource {
            listed: Arc::new(["API_KEY".to_owned(), "EMPTY".to_owned()]),
            lookup: Arc::new(|name| match name {
                "EMPTY" => Some(String::new()),
                _ => Some(format!("value of {name}")),
            }),
        }
    }

    #[test]
    fn only_listed_variables_are_secrets() {
        let mut secrets = Secrets::of(WorkspaceId::DEFAULT);
        assert_eq!(
            secrets.resolve(&source(), "${API_KEY}"),
            Ok("value of API_KEY".to_owned())
        );
        for hidden in ["${PATH}", "${EMPTY}", "API_KEY", "${}", "${A B}", "${1A}"] {
            assert!(secrets.resolve(&source(), hidden).is_err(), "{hidden}");
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(1)");
    }

    #[test]
    fn the_operators_variables_serve_no_other_workspace() {
        let mut secrets = Secrets::of(WorkspaceId::NONE);
        let refused = secrets.resolve(&source(), "${API_KEY}").unwrap_err();
        assert!(
            refused.to_string().contains("workspace `default`"),
            "{refused}"
        );
    }

    #[test]
    fn outputs_lose_long_secrets_and_keep_short_words() {
        let secrets = Secrets {
            workspace: WorkspaceId::DEFAULT,
            values: vec!["sesame-open".to_owned(), "true".to_owned()],
        };
        let mut output = json!({"a": ["say sesame-open!", "true"], "b": true});
        secrets.mask_output(&mut output);
        assert_eq!(output, json!({"a": ["say ***!", "true"], "b": true}));
    }

    proptest! {
        #[test]
        fn no_form_of_a_secret_survives(secret in "[a-z\"\\\\ &%+=]{6,20}", around in "[A-Z]{0,5}") {
            let workspace = WorkspaceId::DEFAULT;
            let secrets = Secrets { workspace, values: vec![secret.clone()] };
            for form in forms(&secret) {
                let masked = secrets.mask(&format!("{around}{form}{around}"));
                prop_assert_eq!(masked, format!("{around}***{around}"));
            }
        }
    }
}
