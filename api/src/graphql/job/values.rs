//! What jobs were given and gave back, as lists tell it.

use std::collections::{BTreeMap, HashMap};

use async_graphql::SimpleObject;
use serde_json::Value;
use tokio::sync::OnceCell;
use toolroom_domain::{ErrorCode, Sealed, WorkspaceId};
use toolroom_eventlog::vault::Text;

use crate::{
    error::ApiError,
    graphql::tool::object::int,
    service::jobs::{self, Field, JobView, TOLD_BYTES},
    state::AppState,
};

/// Bytes of the large values that one page reads together: what of them an answer may tell.
const PAGE_BYTES: u64 = TOLD_BYTES;

/// Where a job's input or output is fetched from, without anything around it.
#[derive(SimpleObject)]
pub struct JobValueRef {
    /// Of a value above 64 KiB: equal for equal values of this workspace, and the `ETag` of what is
    /// fetched. It tells nothing else.
    digest: Option<String>,
    /// Bytes of its JSON.
    bytes: i32,
    /// Answers GET with its JSON; to be asked with the credential of this request.
    url: String,
}

impl JobValueRef {
    /// Where one of a job's values is; none of a job that gave nothing back.
    pub(super) fn of(state: &AppState, job: &JobView, field: Field) -> Option<Self> {
        let sealed = field.of(job)?;
        Some(Self {
            digest: sealed.blob.as_ref().map(|blob| blob.sha256.clone()),
            bytes: int(u32::try_from(sealed.bytes()).unwrap_or(u32::MAX)),
            url: format!(
                "{}/api/v1/jobs/{}/{}",
                state.options.public_url,
                job.id,
                field.as_str()
            ),
        })
    }
}

/// One kind of value of all jobs of a page: the large ones are read together when the first of them
/// is asked for, and not at all before.
pub(super) struct PageValues {
    field: Field,
    /// How large each is, by its name: jobs may share them.
    named: BTreeMap<String, u64>,
    texts: OnceCell<HashMap<String, Text>>,
}

impl PageValues {
    pub(super) fn of(jobs: &[JobView], field: Field) -> Self {
        let large = jobs.iter().filter_map(|job| field.of(job)?.blob.as_ref());
        Self {
            field,
            named: large
                .map(|blob| (blob.sha256.clone(), blob.bytes))
                .collect(),
            texts: OnceCell::new(),
        }
    }

    /// The value of one of the page's jobs, if it is a large one and was found.
    pub(super) async fn find(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        sealed: &Sealed,
    ) -> Result<Option<Value>, ApiError> {
        let Some(blob) = &sealed.blob else {
            return Ok(None);
        };
        let bytes: u64 = self.named.values().sum();
        if bytes > PAGE_BYTES {
            let field = self.field.as_str();
            return Err(ApiError::new(
                ErrorCode::PayloadTooLarge,
                format!(
                    "the large values in `{field}` of this page have {bytes} bytes, more than {PAGE_BYTES}: ask for fewer jobs, or for `{field}Ref` and fetch each"
                ),
            ));
        }
        let names: Vec<_> = self.named.keys().cloned().collect();
        let texts = self
            .texts
            .get_or_try_init(|| state.log.vault.read_named(workspace, &names))
            .await
            .map_err(ApiError::from)?;
        match texts.get(&blob.sha256) {
            Some(text) => Ok(Some(jobs::value_of(text.clone()).await?)),
            None => Ok(None),
        }
    }
}
