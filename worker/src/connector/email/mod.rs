//! Mail by SMTP: what the connector `EMAIL` does in code.
//!
//! The conversation is lettre's. What is ours stands around it: the connection goes to an address
//! that the egress guard has checked, nothing that the server says can fill the memory, TLS begins
//! on an empty line, all recipients are accepted or nothing is sent, and it is known whether a letter
//! was handed over when something breaks.

mod delivery;
mod error;
mod letter;
mod server;
mod session;
mod stream;
mod template;
#[cfg(test)]
pub(super) mod tests;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use toolroom_domain::Violation;

use self::{delivery::Delivery, letter::Letter, server::Server, session::Session};
use super::handler::{Handler, HandlerCall};
use crate::executor::{CallError, egress::Egress, http::Wire, rest::Templates, secrets::Secrets};

/// What stands in a rehearsal where the job's key would.
const NO_KEY: &str = "job";

/// The handler `smtp`.
pub(super) struct Smtp {
    templates: Templates,
}

impl Smtp {
    pub(super) fn new() -> Self {
        Self {
            templates: Templates::new(),
        }
    }

    async fn send(&self, call: HandlerCall<'_, '_>) -> Result<Value, CallError> {
        let server = Server::try_new(call.credentials)?;
        let key = call.wire.step();
        let letter = Letter::write(
            &self.templates,
            server.from(),
            call.config,
            call.input,
            key.key(),
            call.wire.clock().now(),
        )?;
        let around = Surroundings::of(&call);
        let mut session = Session::open(&around, &server).await?;
        session.address(&around, &letter).await?;
        let delivery = Delivery::begin(&around, &server, &letter, key.key()).await?;
        session.hand_over(&around, &letter, delivery).await?;
        session.close().await;
        Ok(json!({
            "messageId": letter.message_id(),
            "accepted": letter.recipients().len(),
        }))
    }

    /// Connects, secures the line, logs in, and leaves.
    async fn test(&self, call: HandlerCall<'_, '_>) -> Result<Value, CallError> {
        let server = Server::try_new(call.credentials)?;
        let session = Session::open(&Surroundings::of(&call), &server).await?;
        let name = session.server_name();
        session.close().await;
        Ok(json!({ "server": name, "security": server.security().as_str() }))
    }
}

#[async_trait]
impl Handler for Smtp {
    fn check_config(&self, config: &Value) -> Vec<Violation> {
        template::check(&self.templates, config)
    }

    fn render(
        &self,
        _: &str,
        credentials: &Value,
        config: &Value,
        input: &Value,
    ) -> Result<Value, CallError> {
        let server = Server::try_new(credentials)?;
        let letter = Letter::write(
            &self.templates,
            server.from(),
            config,
            input,
            NO_KEY,
            Timestamp::UNIX_EPOCH,
        )?;
        Ok(json!({
            "method": "SMTP",
            "url": server.url(),
            "security": server.security().as_str(),
            "username": server.username(),
            "recipients": letter.recipients().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "letter": letter.shown(),
        }))
    }

    async fn call(&self, call: HandlerCall<'_, '_>) -> Result<Value, CallError> {
        match call.action {
            Some(_) => self.send(call).await,
            None => self.test(call).await,
        }
    }
}

/// What a conversation takes of its surroundings.
struct Surroundings<'a> {
    wire: &'a Wire<'a>,
    egress: &'a Egress,
    secrets: &'a Secrets,
}

impl<'a> Surroundings<'a> {
    fn of<'w: 'a>(call: &'a HandlerCall<'a, 'w>) -> Self {
        Self {
            wire: call.wire,
            egress: call.egress,
            secrets: call.secrets,
        }
    }
}
