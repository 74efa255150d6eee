//! Media types: what a request's body is, and what its sender wants back.

use http::{HeaderMap, HeaderValue, header};

/// The form of an answer of `/graphql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `application/graphql-response+json`, whose status tells of errors in the request.
    GraphqlResponse,
    /// `application/json`, which is 200 wherever there is an answer at all.
    Json,
    /// `text/event-stream`.
    EventStream,
}

impl Answer {
    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        })
    }

    fn essence(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream",
        }
    }
}

/// What the sender likes best of what there is; none if it accepts nothing of it. Without `Accept`,
/// and for wildcards, that is plain JSON, which every tool shows.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<Answer> {
    if !headers.contains_key(header::ACCEPT) {
        return Some(Answer::Json);
    }
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    // Between equals the first wins: an event stream is only given to who names it.
    let mut best: Option<(Answer, f32)> = None;
    for answer in [Answer::GraphqlResponse, Answer::Json, Answer::EventStream] {
        let Some(quality) = quality(&ranges, answer) else {
            continue;
        };
        if quality > 0.0 && best.is_none_or(|(_, other)| quality > other) {
            best = Some((answer, quality));
        }
    }
    best.map(|(answer, _)| answer)
}

fn quality(ranges: &[Range<'_>], answer: Answer) -> Option<f32> {
    let named = ranges
        .iter()
        .find(|range| range.essence.eq_ignore_ascii_case(answer.essence()));
    let wildcard = || {
        ranges
            .iter()
            .find(|range| range.essence == "application/*")
            .or_else(|| ranges.iter().find(|range| range.essence == "*/*"))
    };
    match answer {
        Answer::Json => named.or_else(wildcard),
        Answer::GraphqlResponse | Answer::EventStream => named,
    }
    .map(|range| range.quality)
}

struct Range<'a> {
    essence: &'a str,
    quality: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().filter(|essence| essence.contains('/'))?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            .map_or(Some(1.0), |(_, value)| value.parse().ok())?;
        Some(Self { essence, quality })
    }
}

/// Whether a request says that its body is JSON in UTF-8. Pages of another origin cannot say so
/// without asking first, which is never granted.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, charset)| {
            let charset = charset.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        });
    essence.eq_ignore_ascii_case("application/json") && is_utf8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        wanted(&headers)
    }

    #[test]
    fn without_a_wish_it_is_plain_json() {
        assert_eq!(wanted(&HeaderMap::new()), Some(Answer::Json));
        assert_eq!(accepting("*/*"), Some(Answer::Json));
        assert_eq!(accepting("application/*"), Some(Answer::Json));
        assert_eq!(accepting("text/html, */*;q=0.8"), Some(Answer::Json));
    }

    #[test]
    fn the_best_liked_wins() {
        assert_eq!(
            accepting("application/graphql-response+json, application/json;q=0.9"),
            Some(Answer::GraphqlResponse)
        );
        assert_eq!(
            accepting("application/graphql-response+json;q=0.5, application/json"),
            Some(Answer::Json)
        );
        assert_eq!(accepting("Text/Event-Stream"), Some(Answer::EventStream));
        assert_eq!(
            accepting("application/json;q=0, */*"),
            None,
            "what is excluded by name is not let in by a wildcard"
        );
    }

    #[test]
    fn what_there_is_not_is_not_acceptable() {
        assert_eq!(accepting("text/html"), None);
        assert_eq!(accepting("nonsense"), None);
        assert_eq!(accepting("application/json;q=x"), None);
    }

    #[test]
    fn only_json_in_utf8_is_taken() {
        let said = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(said("application/json"));
        assert!(said("Application/JSON; charset=\"UTF-8\""));
        assert!(!said("application/json; charset=iso-8859-1"));
        assert!(!said("text/plain"));
        assert!(!said("application/jsonp"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
