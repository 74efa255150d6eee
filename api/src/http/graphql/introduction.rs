//! Who opens a WebSocket: by the headers of its upgrade, or by the payload of `connection_init`,
//! since browsers let pages set no headers there.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use toolroom_domain::{ErrorCode, access::Caller};

use super::session::Closing;
use crate::{
    auth::{Identify, Presented, presented},
    state::RequestContext,
};

/// Who opened a WebSocket, as its upgrade shows.
pub(super) struct Opener {
    pub(super) auth: Arc<dyn Identify>,
    pub(super) presented: Presented,
    pub(super) context: RequestContext,
}

impl Opener {
    /// Who speaks on the socket, once `connection_init` has said what it has to say.
    ///
    /// # Errors
    /// The close that the protocol demands of whoever is not known.
    pub(super) async fn introduced(
        self,
        payload: Option<&Value>,
    ) -> Result<RequestContext, Closing> {
        let said = said(payload)?;
        let context = if said.credential.is_none() && said.workspace.is_none() {
            self.context
        } else {
            let presented = Presented {
                // What is said last counts; a cookie beside it does not.
                cookie: self.presented.cookie.filter(|_| said.credential.is_none()),
                credential: said.credential.or(self.presented.credential),
                workspace: said.workspace.or(self.presented.workspace),
                address: self.presented.address,
            };
            match self.auth.identify(&presented).await {
                Ok(sender) => self.context.sent_by(sender),
                Err(error) if error.code == ErrorCode::ServiceUnavailable => {
                    return Err(Closing(1013, "Try again later".into()));
                }
                Err(_) => return Err(forbidden()),
            }
        };
        match context.caller {
            Caller::Anonymous => Err(Closing(4401, "Unauthorized".into())),
            _ => Ok(context),
        }
    }
}

fn forbidden() -> Closing {
    Closing(4403, "Forbidden".into())
}

/// The fields of a payload that are headers, whatever their case; others are the client's own.
fn said(payload: Option<&Value>) -> Result<Presented, Closing> {
    let mut headers = HeaderMap::new();
    let fields = payload.and_then(Value::as_object).into_iter().flatten();
    for (field, value) in fields {
        let Some(name) = header_of(field) else {
            continue;
        };
        let value = match value {
            Value::Null => continue,
            Value::String(text) => HeaderValue::from_str(text).map_err(|_| forbidden())?,
            _ => {
                return Err(Closing(
                    4400,
                    format!("Invalid message received: `{name}` in the payload must be a text"),
                ));
            }
        };
        headers.append(name, value);
    }
    Presented::of(&headers).map_err(|_| forbidden())
}

fn header_of(field: &str) -> Option<HeaderName> {
    match field.to_ascii_lowercase().as_str() {
        "authorization" => Some(header::AUTHORIZATION),
        "apikey" | "x-api-key" => Some(presented::API_KEY),
        "workspaceid" | "x-workspace-id" => Some(presented::WORKSPACE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(payload: Value) -> Result<(Option<String>, Option<String>), u16> {
        said(Some(&payload))
            .map(|said| (said.credential, said.workspace))
            .map_err(|Closing(code, _)| code)
    }

    #[test]
    fn a_payload_says_what_headers_would() {
        let (a, w) = (Some("a".to_owned()), Some("w".to_owned()));
        for payload in [
            json!({"authorization": "Bearer a", "workspaceId": "w"}),
            json!({"Authorization": "bearer a", "X-Workspace-Id": "w", "other": [1]}),
            json!({"apiKey": "a", "WORKSPACEID": "w"}),
            json!({"x-api-key": "a", "Authorization": "Bearer a", "x-workspace-id": "w"}),
        ] {
            assert_eq!(read(payload), Ok((a.clone(), w.clone())));
        }
        for nothing in [json!({}), json!(null), json!([]), json!({"apiKey": null})] {
            assert_eq!(read(nothing), Ok((None, None)));
        }
    }

    #[test]
    fn what_is_no_credential_is_refused() {
        for payload in [
            json!({"authorization": "Basic a"}),
            json!({"authorization": "a\nb"}),
            json!({"apiKey": "a", "x-api-key": "a"}),
            json!({"apiKey": "a", "authorization": "Bearer b"}),
        ] {
            assert_eq!(read(payload), Err(4403));
        }
        assert_eq!(read(json!({"apiKey": 1})), Err(4400));
    }
}
