//! A change of how a tool's runs are bounded and repeated.

use serde::Serialize;
use toolroom_domain::tool::PolicyOverrides;

/// A change of a policy: `None` leaves a field as it is, `Some(None)` gives it its default again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in `Policy`")]
pub struct PolicyPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_multiplier: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Option<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Option<bool>>,
}

impl PolicyPatch {
    /// The change that gives every field its default again.
    pub fn reset() -> Self {
        Self {
            timeout_ms: Some(None),
            max_attempts: Some(None),
            initial_delay_ms: Some(None),
            max_delay_ms: Some(None),
            backoff_multiplier: Some(None),
            jitter: Some(None),
            network: Some(None),
        }
    }

    /// The policy after the change.
    pub fn apply(&self, to: PolicyOverrides) -> PolicyOverrides {
        PolicyOverrides {
            timeout_ms: self.timeout_ms.unwrap_or(to.timeout_ms),
            max_attempts: self.max_attempts.unwrap_or(to.max_attempts),
            initial_delay_ms: self.initial_delay_ms.unwrap_or(to.initial_delay_ms),
            max_delay_ms: self.max_delay_ms.unwrap_or(to.max_delay_ms),
            backoff_multiplier: self.backoff_multiplier.unwrap_or(to.backoff_multiplier),
            jitter: self.jitter.unwrap_or(to.jitter),
            network: self.network.unwrap_or(to.network),
        }
    }
}

impl From<PolicyOverrides> for PolicyPatch {
    /// The change that sets what these say, and leaves the rest.
    fn from(said: PolicyOverrides) -> Self {
        Self {
            timeout_ms: said.timeout_ms.map(Some),
            max_attempts: said.max_attempts.map(Some),
            initial_delay_ms: said.initial_delay_ms.map(Some),
            max_delay_ms: said.max_delay_ms.map(Some),
            backoff_multiplier: said.backoff_multiplier.map(Some),
            jitter: said.jitter.map(Some),
            network: said.network.map(Some),
        }
    }
}
