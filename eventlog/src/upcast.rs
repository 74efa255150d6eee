//! Reading events that were written by earlier versions.
//!
//! A changed event gets a new version and an entry here; stored text is never rewritten. The same
//! list serves the aggregates' store and the feed.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde::de::DeserializeOwned;

/// All upcasters, oldest first. No event has changed since its first version.
pub fn all() -> Vec<Box<dyn EventUpcaster>> {
    Vec::new()
}

/// Reads a stored payload as today's type.
///
/// # Errors
/// When the text does not fit the type after upcasting.
pub fn decode<E: DeserializeOwned>(
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<E, serde_json::Error> {
    decode_with(&all(), event_type, event_version, payload)
}

fn decode_with<E: DeserializeOwned>(
    upcasters: &[Box<dyn EventUpcaster>],
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<E, serde_json::Error> {
    let applies = |u: &dyn EventUpcaster| u.can_upcast(event_type, event_version);
    if !upcasters.iter().any(|u| applies(u.as_ref())) {
        return serde_json::from_str(payload);
    }
    let mut event = SerializedEvent::new(
        String::new(),
        0,
        String::new(),
        event_type.to_owned(),
        event_version.to_owned(),
        serde_json::from_str(payload)?,
        serde_json::Value::Null,
    );
    for upcaster in upcasters {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            event = upcaster.upcast(event);
        }
    }
    serde_json::from_value(event.payload)
}

#[cfg(test)]
mod tests {
    use cqrs_es::persist::SemanticVersionEventUpcaster;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_old_payload_is_read_as_the_new_type() {
        let rename = SemanticVersionEventUpcaster::new(
            "ToolRegistered",
            "2.0",
            Box::new(|mut old: Value| {
                let title = old["label"].take();
                json!({ "title": title })
            }),
        );
        let upcasters: Vec<Box<dyn EventUpcaster>> = vec![Box::new(rename)];
        let old = r#"{"label":"x"}"#;
        let new: Value = decode_with(&upcasters, "ToolRegistered", "1.0", old).unwrap();
        assert_eq!(new, json!({"title": "x"}));
        let untouched: Value = decode_with(&upcasters, "ToolRegistered", "2.0", old).unwrap();
        assert_eq!(untouched, json!({"label": "x"}));
    }
}
