//! Which part of a value is asked for (RFC 9110, 14). One range; of several, or of what is none, the
//! whole is the answer, as the RFC allows.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// Which part of a value is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// These bytes, of which there is at least one.
    Part(Range<usize>),
    /// Bytes that there are not.
    Nothing,
}

/// Reads the header `Range` for a value of so many bytes.
pub(super) fn wanted(headers: &HeaderMap, length: usize) -> Wanted {
    let Some(text) = headers.get(header::RANGE).and_then(|v| v.to_str().ok()) else {
        return Wanted::All;
    };
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Wanted::All;
    };
    let range = match (first.trim().parse(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) if last < first => return Wanted::All,
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..length,
        (Err(_), Ok(last)) if first.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return Wanted::All,
    };
    match range.is_empty() {
        true => Wanted::Nothing,
        false => Wanted::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(range: &'static str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        wanted(&headers, 10)
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        assert_eq!(of("bytes=2-4"), Wanted::Part(2..5));
        assert_eq!(of("bytes=7-"), Wanted::Part(7..10));
        assert_eq!(of("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(of("bytes=0-99"), Wanted::Part(0..10));
        assert_eq!(of("bytes=-99"), Wanted::Part(0..10));
        for whole in [
            "bytes=1-2,4-5",
            "bytes=5-2",
            "lines=1-2",
            "bytes=-",
            "bytes=a-b",
        ] {
            assert_eq!(of(whole), Wanted::All, "{whole}");
        }
        for nothing in ["bytes=10-", "bytes=-0", "bytes=12-14"] {
            assert_eq!(of(nothing), Wanted::Nothing, "{nothing}");
        }
    }
}
