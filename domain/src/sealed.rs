//! A value that the log holds only encrypted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A JSON value encrypted with its workspace's data key: what a job was given or gave back.
///
/// The domain never looks inside. Erasing the key erases the value and leaves the log whole.
/// Sealing and opening are the vault's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sealed {
    /// Which data key of the workspace it was sealed with.
    pub key: i64,
    /// Nonce, ciphertext and tag, as base64.
    pub data: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {}, {} bytes)", self.key, self.data.len())
    }
}
