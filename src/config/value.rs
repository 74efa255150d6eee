//! How a setting's text becomes its type.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

/// A type that a setting can have.
pub trait Setting: Sized {
    /// What a good value looks like, to end "expected …".
    const EXPECTED: &'static str;

    /// From a flag or a variable.
    fn from_text(text: &str) -> Option<Self>;

    /// From the configuration file.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    /// As `toolroom.toml` would have it.
    fn to_toml(&self) -> String;
}

/// A text as TOML.
pub(super) fn quoted(text: impl ToString) -> String {
    toml::Value::String(text.to_string()).to_string()
}

impl Setting for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn to_toml(&self) -> String {
        quoted(self.display())
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:8000";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_prefix("localhost:") {
            Some(port) => Some(Self::from(([127, 0, 0, 1], port.parse().ok()?))),
            None => text.parse().ok(),
        }
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for Url {
    const EXPECTED: &'static str =
        "a URL that begins with http:// or https:// and carries no credentials";

    fn from_text(text: &str) -> Option<Self> {
        let url = Self::parse(text.trim()).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(url)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, with colours on a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "\"pretty\" or \"json\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        })
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    fn new(number: u64) -> Option<Self> {
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }

    /// The bounds, for reading.
    pub fn bounds() -> String {
        format!("from {MIN} to {MAX}")
    }
}

impl<const MIN: u64, const MAX: u64> Setting for Whole<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number within its bounds";

    fn from_text(text: &str) -> Option<Self> {
        Self::new(text.trim().parse().ok()?)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::new(u64::try_from(value.as_integer()?).ok()?)
    }

    fn to_toml(&self) -> String {
        self.0.to_string()
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    /// Separated by commas.
    fn from_text(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(T::from_text)
            .collect()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::Array(values) => values.iter().map(T::from_toml).collect(),
            single => T::from_toml(single).map(|value| vec![value]),
        }
    }

    fn to_toml(&self) -> String {
        let values: Vec<_> = self.iter().map(T::to_toml).collect();
        format!("[{}]", values.join(", "))
    }
}
