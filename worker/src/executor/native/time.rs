//! `time.now`: the present moment.

use jiff::{fmt::strtime, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::executor::error::CallError;

/// Characters of a format; dates in words take less.
const FORMAT_CHARS: usize = 200;

/// In which zone, and how, to tell the time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// An IANA time zone such as `Europe/Rome`; UTC if left out.
    timezone: Option<String>,
    /// A strftime format such as `%A, %d %B %Y`.
    format: Option<String>,
}

/// The present moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// RFC 3339, with the zone's offset.
    time: String,
    /// Milliseconds since 1970 in UTC.
    unix_ms: i64,
    /// The zone.
    timezone: String,
    /// In the format that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    formatted: Option<String>,
}

pub(super) async fn now(context: Context, input: Input) -> Result<Output, CallError> {
    let timezone = input.timezone.as_deref().unwrap_or("UTC");
    let zone = TimeZone::get(timezone)
        .map_err(|_| CallError::invalid("`timezone` must be an IANA zone such as Europe/Rome"))?;
    let now = context.clock.now();
    let there = now.to_zoned(zone.clone());
    let formatted = match &input.format {
        None => None,
        Some(format) if format.chars().count() > FORMAT_CHARS => {
            let problem = format!("`format` must have at most {FORMAT_CHARS} characters");
            return Err(CallError::invalid(problem));
        }
        Some(format) => Some(strtime::format(format, &there).map_err(|_| {
            CallError::invalid("`format` must be a strftime format such as %Y-%m-%d")
        })?),
    };
    let time = if zone == TimeZone::UTC {
        now.to_string()
    } else {
        now.display_with_offset(there.offset()).to_string()
    };
    Ok(Output {
        time,
        unix_ms: now.as_millisecond(),
        timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
        formatted,
    })
}
