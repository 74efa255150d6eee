//! What jobs were given and gave back.

use bytes::Bytes;
use serde_json::Value;
use toolroom_domain::{
    JobId, Sealed, WorkspaceId,
    job::{self, Receipt, SENT_URL_FIELD, ToolRef, seal_context},
    tool::Kind,
};
use toolroom_eventlog::vault::{self, Opened, Text};

use super::{JobView, get, of_job};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Which of a job's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// What the tool was given.
    Input,
    /// What it gave back.
    Output,
}

impl Field {
    /// Its name, in paths too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }

    /// What of a job it is; none of a job that gave nothing back.
    pub fn of(self, job: &JobView) -> Option<&Sealed> {
        match self {
            Self::Input => Some(&job.input),
            Self::Output => job.output.as_ref(),
        }
    }
}

/// A value of a job, to be handed on as it is.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// The JSON text, and the digest by which an equal value of the workspace is known.
    Json(Bytes, String),
    /// Whoever asks has the value of this digest.
    Same(String),
}

/// A value of a job by reference; not opened if `known` says that its digest is known.
///
/// # Errors
/// When there is no such job, it has no such value, or that was erased.
pub async fn fetch(
    state: &AppState,
    ctx: &RequestContext,
    id: JobId,
    field: Field,
    known: impl Fn(&str) -> bool,
) -> Result<Fetched, ApiError> {
    let job = get(state, ctx, id).await?;
    let Some(sealed) = field.of(&job) else {
        let problem = format!("the job has no {}; it is {:?}", field.as_str(), job.status);
        return Err(of_job(ApiError::not_found(problem.to_lowercase()), id));
    };
    if let Some(blob) = sealed.blob.as_ref().filter(|blob| known(&blob.sha256))
        && !state.log.vault.is_erased(job.workspace).await?
    {
        return Ok(Fetched::Same(blob.sha256.clone()));
    }
    let context = seal_context(id, field.as_str());
    let vault = &state.log.vault;
    let Text::Json(json) = vault.read(job.workspace, &context, sealed).await? else {
        return Err(of_job(erased(), id));
    };
    let as_shown = match field {
        Field::Input => shown_text(state, &job, &json).await?,
        Field::Output => None,
    };
    let digest = match &sealed.blob {
        Some(blob) if as_shown.is_none() => blob.sha256.clone(),
        _ => vault
            .name_of(job.workspace, as_shown.as_ref().unwrap_or(&json))
            .await?
            .ok_or_else(|| of_job(erased(), id))?,
    };
    Ok(match known(&digest) {
        true => Fetched::Same(digest),
        false => Fetched::Json(as_shown.unwrap_or(json), digest),
    })
}

/// The URL that a call went to, if its receipt has it and the workspace was not erased.
///
/// # Errors
/// When it cannot be opened.
pub async fn sent_url(
    state: &AppState,
    job: &JobView,
    call: &Receipt,
) -> Result<Option<String>, ApiError> {
    let Some(sealed) = &call.sent_url else {
        return Ok(None);
    };
    let context = seal_context(job.id, SENT_URL_FIELD);
    let opened = state
        .log
        .vault
        .open(job.workspace, &context, sealed)
        .await?;
    Ok(match opened {
        Opened::Value(Value::String(url)) => Some(url),
        Opened::Value(_) | Opened::Erased => None,
    })
}

/// The text of an input as it may be shown, where that is another one than what was kept.
async fn shown_text(
    state: &AppState,
    job: &JobView,
    kept: &Bytes,
) -> Result<Option<Bytes>, ApiError> {
    if matches!(job.tool.kind, Kind::Native | Kind::External) {
        return Ok(None);
    }
    let input = vault::parse(kept.clone()).await?;
    let shown = shown(state, job.workspace, &job.tool, input.clone()).await?;
    Ok((shown != input).then(|| Bytes::from(shown.to_string())))
}

fn erased() -> ApiError {
    ApiError::not_found("the value was erased, with all that its workspace kept")
}

/// A value from its text, or the word `erased`.
///
/// # Errors
/// When it is no JSON.
pub async fn value_of(text: Text) -> Result<Value, ApiError> {
    Ok(match text {
        Text::Json(json) => Opened::Value(vault::parse(json).await?),
        Text::Erased => Opened::Erased,
    }
    .into_value())
}

/// What a job was given, as it may be shown, or the word `erased`.
///
/// # Errors
/// When the vault cannot be read.
pub async fn input(state: &AppState, job: &JobView) -> Result<Value, ApiError> {
    match open(state, job.workspace, job.id, "input", &job.input).await? {
        Opened::Value(input) => shown(state, job.workspace, &job.tool, input).await,
        erased @ Opened::Erased => Ok(erased.into_value()),
    }
}

/// What a tool was given without the secrets of the version that it was given to: whoever wrote a
/// secret's value into an input meant it to be sent, not to be read by all who may see the job.
///
/// # Errors
/// When the secrets cannot be read: nothing is shown then.
pub async fn shown(
    state: &AppState,
    workspace: WorkspaceId,
    tool: &ToolRef,
    input: Value,
) -> Result<Value, ApiError> {
    // These have no secrets, and need not be looked up.
    if matches!(tool.kind, Kind::Native | Kind::External) {
        return Ok(input);
    }
    let entry = state.directory.by_id(workspace, tool.id).await?;
    let definition = state.directory.definition(&entry, tool.version).await?;
    let shown = state
        .presenter
        .without_secrets(workspace, &definition, input);
    Ok(shown.await?)
}

/// What a job gave back, or the word `erased`.
///
/// # Errors
/// When the vault cannot be read.
pub async fn output(state: &AppState, job: &JobView) -> Result<Option<Value>, ApiError> {
    match &job.output {
        None => Ok(None),
        Some(sealed) => {
            let opened = open(state, job.workspace, job.id, "output", sealed).await?;
            Ok(Some(opened.into_value()))
        }
    }
}

/// What the tool said of a failure of this job, or the word `erased`.
///
/// # Errors
/// When the vault cannot be read.
pub async fn failure_details(
    state: &AppState,
    workspace: WorkspaceId,
    job: JobId,
    failure: &job::Failure,
) -> Result<Option<Value>, ApiError> {
    match &failure.details {
        None => Ok(None),
        Some(sealed) => {
            let opened = open(state, workspace, job, "error", sealed).await?;
            Ok(Some(opened.into_value()))
        }
    }
}

pub(crate) async fn open(
    state: &AppState,
    workspace: WorkspaceId,
    job: JobId,
    field: &str,
    sealed: &Sealed,
) -> Result<Opened, ApiError> {
    let context = seal_context(job, field);
    Ok(state.log.vault.open(workspace, &context, sealed).await?)
}
