//! The credentials of a call: what the tool's version shows, with the vault's values in the masked
//! places, and references resolved.

use serde_json::Value;
use toolroom_domain::{
    ErrorCategory, WorkspaceId,
    connector::{MASK, unmasked},
    job::SecretUse,
    secret::reference,
    tool::CredentialsRef,
};
use url::Url;

use super::format::File;
use crate::executor::{
    Journal, StoreError,
    error::CallError,
    secrets::{SecretSource, Secrets},
};

/// Where credentials come from, and who is told.
pub(super) struct Source<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) references: &'a SecretSource,
    pub(super) journal: &'a dyn Journal,
}

/// Bytes from which on a part of a secret address is taken for a secret itself.
const SECRET_PATH_BYTES: usize = 8;

/// The credentials of a tool's version. All that is secret is known to `secrets` afterwards.
///
/// # Errors
/// When something of them is not kept any more, or the store does not answer.
pub(super) async fn resolve(
    source: &Source<'_>,
    file: &File,
    of: &CredentialsRef,
    secrets: &mut Secrets,
) -> Result<Value, CallError> {
    let kept = source
        .references
        .store
        .credentials(source.workspace, &of.id)
        .await;
    let kept = kept.map_err(|error| {
        tracing::error!(%error, "a tool's credentials could not be read");
        // No fault of the service's: its circuit stays as it is.
        CallError {
            retryable: true,
            ..CallError::failed(
                ErrorCategory::Unknown,
                "the tool's credentials could not be read; try again in a moment",
            )
        }
    })?;
    let (kept, version) = match kept {
        Some(kept) => (kept.value, kept.version),
        None => (Value::Null, of.version),
    };
    source.journal.secrets_used(vec![SecretUse {
        name: format!("credentials/{}", of.id),
        version,
    }]);
    let mut whole = unmasked(&of.shown, &kept).map_err(|missing| {
        CallError::failed(
            ErrorCategory::Authentication,
            format!(
                "the tool's credentials are not kept any more: {}; set them with `updateTool`",
                missing.join(", ")
            ),
        )
    })?;
    // A secret belongs to the address that it was set with: a version that had another one must not
    // send it there.
    if whole != of.shown
        && let Some(field) = moved(file, &whole, &kept)
    {
        return Err(CallError::failed(
            ErrorCategory::Authentication,
            format!(
                "the credentials of the tool's version {} are not kept any more: version {version} \
                 replaced them together with `{field}`; run that version, or set them with `updateTool`",
                of.version
            ),
        ));
    }
    let resolved = resolve_references(source, &mut whole, secrets).await;
    // Also where nothing is sent after all: the secrets were read.
    secrets.tell(source.journal);
    resolved?;
    register(&file.credentials, &whole, secrets);
    Ok(whole)
}

/// The first field that may say where requests go and is not what is kept.
fn moved<'a>(file: &File, whole: &'a Value, kept: &'a Value) -> Option<&'a str> {
    let fields = |value: &'a Value| value.as_object().into_iter().flatten();
    let mut names = fields(whole).chain(fields(kept)).map(|(name, _)| &**name);
    names.find(|name| whole.get(name) != kept.get(name) && may_lead(file, name))
}

/// Whether a field of the credentials may say where requests go: its name stands in the template of
/// an address, or code connects.
fn may_lead(file: &File, field: &str) -> bool {
    let tested = file.test.iter();
    let in_code = file.actions.iter().any(|action| action.handler.is_some())
        || tested.clone().any(|test| test.handler.is_some());
    let requests = file.actions.iter().map(|action| &action.requests);
    let requests = requests.chain(tested.map(|test| &test.requests)).flatten();
    let mut addresses = requests
        .flat_map(|alternative| alternative.calls())
        .filter_map(|request| request.url.as_deref())
        .chain(file.base_url.as_deref());
    // What reads them all may read this one.
    let reads_all = |source: &str| {
        let mut rest = source.split("credentials").skip(1);
        rest.any(|after| !after.starts_with('.'))
    };
    in_code || addresses.any(|source| source.contains(field) || reads_all(source))
}

async fn resolve_references(
    source: &Source<'_>,
    value: &mut Value,
    secrets: &mut Secrets,
) -> Result<(), CallError> {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if reference(text).is_some() => {
                *text = secrets.resolve(source.references, text).await?.to_string();
            }
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values_mut()),
            _ => {}
        }
    }
    Ok(())
}

/// Makes all that a schema marks as secret known, so that it is masked wherever it is told.
pub(super) fn register(schema: &Value, value: &Value, secrets: &mut Secrets) {
    if schema.get("writeOnly").and_then(Value::as_bool) == Some(true) {
        return every_text(value, secrets);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, field) in value.as_object().into_iter().flatten() {
        match properties.get(name) {
            Some(schema) => register(schema, field, secrets),
            None => every_text(field, secrets),
        }
    }
}

/// Makes all that is secret of a tool's credentials known, as far as it is still kept, without a call
/// that would use it.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn learn(
    workspace: WorkspaceId,
    references: &SecretSource,
    of: &CredentialsRef,
    secrets: &mut Secrets,
) -> Result<(), StoreError> {
    let kept = references.store.credentials(workspace, &of.id).await?;
    let mut open = vec![(&of.shown, kept.as_ref().map(|kept| &kept.value))];
    while let Some((shown, kept)) = open.pop() {
        match shown {
            Value::String(text) if text == MASK => {
                kept.into_iter().for_each(|kept| every_text(kept, secrets));
            }
            Value::String(text) => secrets.learn(references, text).await?,
            Value::Array(items) => open.extend(items.iter().map(|item| (item, None))),
            Value::Object(fields) => {
                let places = fields.iter();
                open.extend(places.map(|(name, field)| (field, kept.and_then(|k| k.get(name)))));
            }
            _ => {}
        }
    }
    Ok(())
}

fn every_text(value: &Value, secrets: &mut Secrets) {
    match value {
        Value::String(text) if !text.is_empty() => {
            secrets.also(text.clone());
            // Of a secret address the path is what is secret, also where the address goes on.
            if let Ok(url) = Url::parse(text)
                && url.has_host()
            {
                let path = url.path().trim_end_matches('/');
                let query = url.query().unwrap_or_default();
                for part in [path, query] {
                    if part.len() >= SECRET_PATH_BYTES {
                        secrets.also(part.to_owned());
                    }
                }
            }
        }
        Value::Number(number) => secrets.also(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| every_text(item, secrets)),
        Value::Object(fields) => fields.values().for_each(|field| every_text(field, secrets)),
        _ => {}
    }
}
