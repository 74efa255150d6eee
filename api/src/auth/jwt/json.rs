//! JSON objects in which no field comes twice. Two parsers may each take another one of the two,
//! and then what was checked is not what is used.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::http::nesting;

/// Reads an object whose brackets nest `depth` deep at most, or tells nothing of what is wrong.
pub(super) fn read<T: DeserializeOwned>(depth: usize, text: &[u8]) -> Option<T> {
    if nesting::too_deep_field(depth, text).is_some() {
        return None;
    }
    let Unique(fields) = serde_json::from_slice(text).ok()?;
    serde_json::from_value(Value::Object(fields)).ok()
}

/// A field that may be missing, but is no `null`: what is there and of the wrong type must not
/// pass as absent.
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueFields)
    }
}

struct UniqueFields;

impl<'de> Visitor<'de> for UniqueFields {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
        let mut fields = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a field comes twice"));
            }
        }
        Ok(Unique(fields))
    }
}
