//! When a key ends, as people write it.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

/// When a key ends.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// So long after it is made.
    After(Span),
    /// At a moment.
    At(Timestamp),
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let date = text.parse::<Date>().ok();
        // A time without its zone would be read as the date alone.
        if let Some(date) = date.filter(|date| date.to_string() == text) {
            let midnight = date.to_zoned(TimeZone::UTC);
            let midnight = midnight.map_err(|_| "the date is out of range")?;
            return Ok(Self::At(midnight.timestamp()));
        }
        match text.parse::<Span>() {
            Ok(span) if span.is_positive() => Ok(Self::After(span)),
            _ => Err(
                "expected a time such as 90d or 12h, a date such as 2027-01-31, or a moment such as 2027-01-31T12:00:00Z",
            ),
        }
    }
}

impl Expiry {
    /// The moment at which a key that is made now ends.
    ///
    /// # Errors
    /// When that is past, or further away than time goes.
    pub fn after(&self, now: Timestamp) -> anyhow::Result<Timestamp> {
        let at = match *self {
            Self::At(at) => at,
            // Days and months have a length in a calendar only.
            Self::After(span) => now
                .to_zoned(TimeZone::UTC)
                .checked_add(span)
                .context("--expires is too far away")?
                .timestamp(),
        };
        if at <= now {
            bail!("--expires is past already: {at}");
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expires(text: &str) -> anyhow::Result<String> {
        let expiry: Expiry = text.parse().map_err(anyhow::Error::msg)?;
        let now = "2026-11-21T08:00:00Z".parse()?;
        Ok(expiry.after(now)?.to_string())
    }

    #[test]
    fn times_dates_and_moments_are_read() {
        for (text, moment) in [
            ("90d", "2027-02-19T08:00:00Z"),
            ("12h", "2026-11-21T20:00:00Z"),
            ("1 year", "2027-11-21T08:00:00Z"),
            ("P30D", "2026-12-21T08:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            assert_eq!(expires(text).unwrap(), moment, "{text}");
        }
    }

    #[test]
    fn what_is_past_or_unclear_is_refused() {
        for text in [
            "",
            "soon",
            "90",
            "-1d",
            "0d",
            "2026-11-21",
            "2027-01-31T12:00:00",
            "2020-01-01T00:00:00Z",
            "99999y",
        ] {
            assert!(expires(text).is_err(), "{text}");
        }
    }
}
