//! Who caused an event.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::ApiKeyId, user::UserId};

/// Who sent a command, as it is written on every event it causes: `user:…`, `key:…`,
/// `schedule:…` or `system:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// The local owner: whoever reaches the loopback address of an embedded server.
    pub fn local_owner() -> Self {
        Self::user(&UserId::local())
    }

    /// Nobody known. Causes no events but those that tell of a refusal.
    pub fn anonymous() -> Self {
        Self("anonymous".to_owned())
    }

    /// A person.
    pub fn user(id: &UserId) -> Self {
        Self(format!("user:{id}"))
    }

    /// A program that shows a key.
    pub fn key(id: ApiKeyId) -> Self {
        Self(format!("key:{id}"))
    }

    /// A part of Toolroom itself, such as `system:worker`.
    pub fn system(part: &str) -> Self {
        Self(format!("system:{part}"))
    }

    /// Whether it is a part of Toolroom itself.
    pub fn is_system(&self) -> bool {
        self.0.starts_with("system:")
    }

    /// The written form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
