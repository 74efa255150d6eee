//! Identifiers: a kind's prefix and a UUID, such as `job_0192f0c4…`.
//!
//! New ids are UUIDv7, so that rows written together lie together. The UUID is handed in.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form `{prefix}_` followed by 32 hexadecimal digits")]
pub struct ParseIdError {
    prefix: &'static str,
}

/// All prefixes in use, so that names shaped like an id can be refused.
pub const PREFIXES: &[&str] = &[
    WorkspaceId::PREFIX,
    ToolId::PREFIX,
    JobId::PREFIX,
    ApiKeyId::PREFIX,
    InvitationId::PREFIX,
    SessionId::PREFIX,
    SecretId::PREFIX,
    "task",
    "flow",
    "run",
    "orch",
    "listing",
    "evt",
];

const UUID_HEX_DIGITS: usize = 32;

/// Whether a text has the shape of some id of ours.
pub fn is_shaped_like_an_id(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(prefix, rest)| {
        PREFIXES.contains(&prefix)
            && rest.len() == UUID_HEX_DIGITS
            && rest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What the written form begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The id with this UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID within.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == UUID_HEX_DIGITS)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }
    )+};
}

ids! {
    /// A workspace: the tenant to which everything belongs.
    WorkspaceId = "ws",
    /// A tool.
    ToolId = "tool",
    /// One execution or generation.
    JobId = "job",
    /// A key by which a program is known.
    ApiKeyId = "key",
    /// An invitation into a workspace.
    InvitationId = "inv",
    /// A session of a browser.
    SessionId = "ses",
    /// A named secret.
    SecretId = "sec",
}

impl WorkspaceId {
    /// The workspace `default`, which exists from the first start.
    pub const DEFAULT: Self = Self(Uuid::nil());

    /// The workspace of whoever has none: nothing is ever created in it.
    pub const NONE: Self = Self(Uuid::max());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_written_form() {
        let id = JobId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "job_00000000000000000000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let tool = ToolId::from_uuid(Uuid::from_u128(7)).to_string();
        assert!(tool.parse::<JobId>().is_err());
        assert!(is_shaped_like_an_id(&tool));
        assert!(!is_shaped_like_an_id("tool_box"));
    }
}
