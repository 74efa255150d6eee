//! `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest wait that is believed; what asks for more is a mistake or malice, and the job's own
/// bounds end it sooner.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// For how long the other side wants to be left alone, counted from `now`; at most [`LONGEST`].
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
        }
        Ok(_) => return None,
        Err(_) => until(text, now)?,
    };
    Some(wait.min(LONGEST))
}

/// HTTP's dates are RFC 2822's with `GMT`. One that has passed means: now.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let wait: SignedDuration = at.duration_since(now);
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn told(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        retry_after(&headers, "2026-07-01T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn seconds_and_dates_are_understood_and_bounded() {
        for (value, wait) in [
            ("0", Some(Duration::ZERO)),
            ("120", Some(Duration::from_secs(120))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("99999999999999999999", Some(LONGEST)),
            (
                "Wed, 01 Jul 2026 12:01:40 GMT",
                Some(Duration::from_secs(100)),
            ),
            ("Wed, 01 Jul 2026 11:00:00 GMT", Some(Duration::ZERO)),
            ("Fri, 01 Jul 2061 12:00:00 GMT", Some(LONGEST)),
            ("-5", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(told(value), wait, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
