//! New identifiers: the one place that draws them.

use uuid::Uuid;

/// A new UUIDv7: those drawn together sort together, so that their rows lie together.
#[allow(clippy::disallowed_methods, reason = "this is where ids come from")]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}
