//! Fetches a document that the operator named, as an identity provider's key set: through the
//! guard, bounded in size.

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method,
    header::{ACCEPT, HeaderMap, HeaderValue},
};
use toolroom_domain::ErrorCategory;
use url::Url;

use super::{
    egress::{Egress, EgressOptions},
    error::{CallError, Error},
    http::{Departure, Read, Request, follow, read},
};

/// Fetches one document. What may be reached beyond public addresses is its own: what the operator
/// opens for it opens nothing for tools.
pub struct Fetcher {
    egress: Egress,
    url: Url,
}

impl Fetcher {
    /// A fetcher of the document at `url`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn try_new(options: EgressOptions, url: Url) -> Result<Self, Error> {
        Ok(Self {
            egress: Egress::try_new(options)?,
            url,
        })
    }

    /// The document, if it has at most `bound` bytes. How long it may take is the caller's to say.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn fetch(&self, bound: usize) -> Result<Bytes, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let request = Request {
            method: Method::GET,
            url: self.url.clone(),
            headers,
            body: None,
        };
        let (response, _) = follow(&self.egress, request, true, &Departure::default()).await?;
        let status = response.status();
        let failed = |message: String| CallError::failed(ErrorCategory::ServerError, message);
        if !status.is_success() {
            return Err(failed(format!("it was answered with {}", status.as_u16())));
        }
        let mut body = BytesMut::new();
        if read(response, &mut body, bound).await? == Read::Cut {
            return Err(failed(format!("the answer is longer than {bound} bytes")));
        }
        Ok(body.freeze())
    }
}
