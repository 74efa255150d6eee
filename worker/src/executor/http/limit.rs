//! What services of which no connector knows better say of their limits: the IETF's
//! `RateLimit` (draft-ietf-httpapi-ratelimit-headers, in its present form and that of 2022), and the
//! `X-RateLimit-…` that was before it.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use sfv::{BareItem, Dictionary, List, ListEntry, Parameters, Parser};

use crate::executor::journal::Announced;

/// Names under which the calls that are left and the time of the next ones are told.
const PAIRS: [(&str, &str); 4] = [
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
];

/// From this on a number of seconds is a moment since 1970: as a span it would be 30 years.
const MOMENTS_FROM: f64 = 1e9;
/// From this on such a moment is in milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

/// What is left, and when there will be more; none where an answer does not say both.
pub(super) fn announced(headers: &HeaderMap, now: Timestamp) -> Option<Announced> {
    let (remaining, reset_after) = structured(headers).or_else(|| plain(headers, now))?;
    Some(Announced {
        remaining: Some(remaining),
        reset_after: Some(reset_after),
        retry_after: None,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn structured(headers: &HeaderMap) -> Option<(u64, Duration)> {
    let text = text(headers, "ratelimit")?;
    let policies: Vec<_> = match Parser::new(text).parse::<List>() {
        Ok(list) if !list.is_empty() => list.iter().filter_map(of_policy).collect(),
        _ => Vec::new(),
    };
    // Of several policies the one that keeps calls back first, and for longest.
    let tightest = policies
        .into_iter()
        .min_by_key(|(remaining, reset)| (*remaining, std::cmp::Reverse(*reset)));
    tightest.or_else(|| of_2022(text))
}

/// Such as `"minute";r=50;t=30`.
fn of_policy(entry: &ListEntry) -> Option<(u64, Duration)> {
    let ListEntry::Item(item) = entry else {
        return None;
    };
    let number = |name| whole(parameter(&item.params, name)?);
    Some((number("r")?, Duration::from_secs(number("t")?)))
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a BareItem> {
    parameters.get(name)
}

/// Such as `limit=100, remaining=50, reset=30`.
fn of_2022(text: &str) -> Option<(u64, Duration)> {
    let fields: Dictionary = Parser::new(text).parse().ok()?;
    let number = |name| match fields.get(name)? {
        ListEntry::Item(item) => whole(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    Some((number("remaining")?, Duration::from_secs(number("reset")?)))
}

fn whole(item: &BareItem) -> Option<u64> {
    match item {
        BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    }
}

fn plain(headers: &HeaderMap, now: Timestamp) -> Option<(u64, Duration)> {
    PAIRS.iter().find_map(|(remaining, reset)| {
        let number = |name| -> Option<f64> {
            let number = text(headers, name)?.parse().ok();
            number.filter(|number: &f64| number.is_finite())
        };
        // What is below zero becomes 0.
        Some((number(remaining)? as u64, span(number(reset)?, now)?))
    })
}

/// A span in seconds, or what is left until a moment.
fn span(number: f64, now: Timestamp) -> Option<Duration> {
    let seconds = match number {
        moment if moment >= MILLISECONDS_FROM => {
            moment / 1_000.0 - now.as_millisecond() as f64 / 1_000.0
        }
        moment if moment >= MOMENTS_FROM => moment - now.as_millisecond() as f64 / 1_000.0,
        span => span,
    };
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn told(headers: &[(&'static str, &'static str)]) -> Option<(u64, u64)> {
        // 1,782,907,200 s after 1970.
        let now = "2026-07-01T12:00:00Z".parse().unwrap();
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let told = announced(&headers.collect(), now)?;
        let ms = told.reset_after?.as_millis();
        Some((told.remaining?, u64::try_from(ms).unwrap()))
    }

    #[test]
    fn each_way_in_which_limits_are_told_is_understood() {
        for (headers, expected) in [
            (&[("ratelimit", "\"default\";r=50;t=30")][..], (50, 30_000)),
            (
                &[(
                    "ratelimit",
                    "\"a\";r=3;t=1, \"b,;\";r=2;t=60;pk=:YQ==:, \"c\";r=2;t=9",
                )],
                (2, 60_000),
            ),
            (
                &[("ratelimit", "limit=100, remaining=7, reset=5")],
                (7, 5_000),
            ),
            (
                &[("ratelimit-remaining", "4"), ("ratelimit-reset", "9")],
                (4, 9_000),
            ),
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1782907230"),
                ],
                (0, 30_000),
            ),
            (
                &[
                    ("x-ratelimit-remaining", "-1"),
                    ("x-ratelimit-reset", "1782907201500"),
                ],
                (0, 1_500),
            ),
            (
                &[
                    ("x-ratelimit-remaining", "1"),
                    ("x-ratelimit-reset", "1782907230"),
                    ("x-ratelimit-reset-after", "0.25"),
                ],
                (1, 250),
            ),
            (
                &[
                    ("x-rate-limit-remaining", "5"),
                    ("x-rate-limit-reset", "1782900000"),
                ],
                (5, 0),
            ),
        ] {
            assert_eq!(told(headers), Some(expected), "{headers:?}");
        }
    }

    #[test]
    fn what_is_half_said_or_garbled_counts_for_nothing() {
        for headers in [
            &[("x-ratelimit-remaining", "0")][..],
            &[("x-ratelimit-reset", "60")],
            &[("ratelimit", "\"default\";r=50")],
            &[("ratelimit", "\"default\";r=-1;t=5")],
            &[("ratelimit", "garbled \"")],
            &[
                ("x-ratelimit-remaining", "inf"),
                ("x-ratelimit-reset", "6m0s"),
            ],
            &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "NaN")],
        ] {
            assert_eq!(told(headers), None, "{headers:?}");
        }
    }
}
