//! Lists that are bare arrays: `limit` and `offset` narrow them, headers tell the rest.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde::Serialize;
use toolroom_domain::Violation;
use toolroom_projections::{Page, PageRequest, page};

use crate::{error::ApiError, http::Problem};

/// Rows of a list that is not narrowed, and of any part of one.
pub(super) const MAX_ROWS: usize = 10_000;

/// Rows that may be passed over: a list is read from its beginning.
const MAX_OFFSET: usize = 1_000_000;

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

impl Part {
    /// The part that a request's query names.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut part = Self {
            offset: 0,
            limit: MAX_ROWS,
        };
        let mut violations = Vec::new();
        let query = uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let (field, range) = match &*name {
                "limit" => (&mut part.limit, 1..=MAX_ROWS),
                "offset" => (&mut part.offset, 0..=MAX_OFFSET),
                other => {
                    let shown: String = other.chars().take(64).collect();
                    let known = "is not known here; there are limit, offset";
                    violations.push(Violation::new(shown, known));
                    continue;
                }
            };
            match value.parse() {
                Ok(number) if range.contains(&number) => *field = number,
                _ => violations.push(Violation::new(
                    name,
                    format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                )),
            }
        }
        if violations.is_empty() {
            Ok(part)
        } else {
            Err(Problem::invalid(violations))
        }
    }

    /// Where the part ends in the list.
    pub(crate) fn end(self) -> usize {
        self.offset + self.limit
    }

    fn links(self, path: &str, total: usize) -> String {
        let link = |offset: usize, relation: &str| {
            let limit = self.limit;
            format!("<{path}?limit={limit}&offset={offset}>; rel=\"{relation}\"")
        };
        let mut links = Vec::new();
        if self.end() < total {
            links.push(link(self.end(), "next"));
        }
        if self.offset > 0 {
            links.push(link(self.offset.saturating_sub(self.limit), "prev"));
            links.push(link(0, "first"));
        }
        links.join(", ")
    }
}

/// The rows of a part, read page by page, and how many the whole list has.
pub(crate) async fn gather<K, R, F>(
    part: Part,
    key: impl Fn(&R) -> K,
    read: impl Fn(PageRequest<K>) -> F,
) -> Result<(Vec<R>, usize), ApiError>
where
    F: Future<Output = Result<Page<R>, ApiError>>,
{
    let mut rows = Vec::new();
    let mut seen = 0;
    let mut total = 0;
    let mut after = None;
    while seen < part.end() {
        let left = i64::try_from(part.end() - seen).unwrap_or(page::MAX_ROWS);
        let request = PageRequest {
            first: left.min(page::MAX_ROWS),
            with_total: after.is_none(),
            after,
        };
        let page = read(request).await?;
        if let Some(counted) = page.total_count {
            total = usize::try_from(counted).unwrap_or(0);
        }
        after = page.rows.last().map(&key);
        let passed_over = part.offset.saturating_sub(seen);
        seen += page.rows.len();
        rows.extend(page.rows.into_iter().skip(passed_over));
        if !page.has_next {
            break;
        }
    }
    Ok((rows, total))
}

/// A part of a list as a bare array.
pub(super) fn respond<T: Serialize>(path: &str, part: Part, total: usize, rows: &[T]) -> Response {
    (headers(path, part, total), axum::Json(rows)).into_response()
}

/// What tells of a part of a list where it lies in the whole.
pub(super) fn headers(path: &str, part: Part, total: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TOTAL, HeaderValue::from(total));
    let links = part.links(path, total);
    if !links.is_empty()
        && let Ok(links) = HeaderValue::try_from(links)
    {
        headers.insert(header::LINK, links);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(query: &str) -> Result<Part, Vec<String>> {
        Part::of(&format!("/tools{query}").parse().unwrap()).map_err(|problem| {
            let violations = problem.violations.into_iter();
            violations.map(|violation| violation.path).collect()
        })
    }

    #[test]
    fn a_list_is_whole_unless_narrowed() {
        let whole = Part {
            offset: 0,
            limit: MAX_ROWS,
        };
        assert_eq!(part(""), Ok(whole));
        let narrowed = Part {
            offset: 40,
            limit: 20,
        };
        assert_eq!(part("?limit=20&offset=40"), Ok(narrowed));
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = part("?limit=0&offset=-1&page=2");
        assert_eq!(
            wrong,
            Err(vec!["limit".into(), "offset".into(), "page".into()])
        );
    }

    #[test]
    fn links_lead_on_and_back() {
        let middle = Part {
            offset: 10,
            limit: 20,
        };
        assert_eq!(
            middle.links("/tools", 31),
            "</tools?limit=20&offset=30>; rel=\"next\", \
             </tools?limit=20&offset=0>; rel=\"prev\", </tools?limit=20&offset=0>; rel=\"first\""
        );
        let all = Part {
            offset: 0,
            limit: 20,
        };
        assert_eq!(all.links("/tools", 20), "");
    }
}
