//! What jobs were given and gave back, one by one and as it was kept.

use bytes::Bytes;
use serde_json::Value;
use toolroom_domain::{
    JobId, Sealed,
    job::{Receipt, SENT_URL_FIELD, seal_context},
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
    let digest = match &sealed.blob {
        Some(blob) => blob.sha256.clone(),
        None => vault
            .name_of(job.workspace, &json)
            .await?
            .ok_or_else(|| of_job(erased(), id))?,
    };
    Ok(match known(&digest) {
        true => Fetched::Same(digest),
        false => Fetched::Json(json, digest),
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
