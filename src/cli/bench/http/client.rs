//! One connection to the server, kept alive.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Where the log was after a command, as answers carry it.
const POSITION: &str = "x-toolroom-position";

/// Where requests go, and what they show.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// Requests that show nothing.
    pub fn open(address: SocketAddr) -> Self {
        Self {
            address,
            authorization: None,
        }
    }

    /// Requests that show an API key or a token.
    ///
    /// # Errors
    /// When it holds what no header may.
    pub fn with_credential(address: SocketAddr, credential: &str) -> anyhow::Result<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {credential}"))?;
        value.set_sensitive(true);
        Ok(Self {
            address,
            authorization: Some(value),
        })
    }
}

/// A connection. Requests go over it one after the other.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<HeaderValue>,
}

/// What a request without faults was answered.
pub struct Answer {
    /// The data of the GraphQL answer.
    pub data: Value,
    /// Where the command's last event is, if that was known in time.
    pub position: Option<i64>,
}

impl Client {
    /// Connects; what carries the connection ends with it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(target: &Target) -> anyhow::Result<Self> {
        let address = target.address;
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("the server at {address} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Whoever waits for an answer is told of the connection's end as well.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self {
            sender,
            host: address.to_string(),
            authorization: target.authorization.clone(),
        })
    }

    /// Posts a body to the GraphQL endpoint, and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn post(&mut self, body: Bytes) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::post("/graphql")
            .header(HOST, self.host.as_str())
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body))?;
        let broken = "the connection to the server broke";
        self.sender.ready().await.context(broken)?;
        let response = self.sender.send_request(request).await.context(broken)?;
        let (head, body): (_, Incoming) = response.into_parts();
        let body = body.collect().await.context(broken)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// Sends a GraphQL request.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub async fn ask(&mut self, query: &str, variables: Value) -> anyhow::Result<Answer> {
        let response = self.post(body(query, variables)).await?;
        if is_refused(&response) {
            bail!(
                "the server answered `{query}` with {}: {}",
                response.status(),
                String::from_utf8_lossy(response.body())
            );
        }
        let position = response.headers().get(POSITION);
        let mut answer: Value = serde_json::from_slice(response.body())?;
        Ok(Answer {
            position: position.and_then(|text| text.to_str().ok()?.parse().ok()),
            data: answer["data"].take(),
        })
    }
}

/// The body of a GraphQL request.
pub fn body(query: &str, variables: Value) -> Bytes {
    Bytes::from(json!({"query": query, "variables": variables}).to_string())
}

/// Whether an answer is anything but the data that was asked for. The body is searched, not parsed:
/// that would cost the server its processor.
pub fn is_refused(response: &Response<Bytes>) -> bool {
    response.status() != StatusCode::OK
        || std::str::from_utf8(response.body()).map_or(true, |text| text.contains("\"errors\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_not_printed() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let target = Target::with_credential(address, "secret").unwrap();
        assert!(!format!("{target:?}").contains("secret"));
    }

    #[test]
    fn an_answer_with_errors_is_a_refusal() {
        let answer = |status: u16, body: &'static str| {
            Response::builder()
                .status(status)
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap()
        };
        assert!(!is_refused(&answer(200, r#"{"data":{"a":1}}"#)));
        assert!(is_refused(&answer(200, r#"{"data":null,"errors":[{}]}"#)));
        assert!(is_refused(&answer(503, "{}")));
    }
}
