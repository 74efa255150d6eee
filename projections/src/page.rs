//! Pages of rows, held together by typed keys.

/// Rows of one page at the most: a screen is tens of rows, an export a few hundred at a time.
pub const MAX_ROWS: i64 = 1_000;

/// Which part of a list is wanted. `K` is the list's key: what its order is unique by.
#[derive(Clone, Debug, PartialEq)]
pub struct PageRequest<K> {
    /// How many rows; held between 0 and [`MAX_ROWS`].
    pub first: i64,
    /// The key of the last row already seen.
    pub after: Option<K>,
    /// Whether to count all rows of the list, which costs a second statement.
    pub with_total: bool,
}

impl<K> PageRequest<K> {
    /// The first rows, uncounted.
    pub fn first(rows: i64) -> Self {
        Self {
            first: rows,
            after: None,
            with_total: false,
        }
    }

    /// How many rows to return.
    pub(crate) fn limit(&self) -> i64 {
        self.first.clamp(0, MAX_ROWS)
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<R> {
    /// The rows, in the list's order.
    pub rows: Vec<R>,
    /// Whether rows follow.
    pub has_next: bool,
    /// Whether rows came before: true exactly when the request named a key.
    pub has_previous: bool,
    /// Of how many rows this is a part, if that was asked for.
    pub total_count: Option<i64>,
}

impl<R> Page<R> {
    /// A page from up to one row more than was wanted, which shows whether there is a next page.
    pub(crate) fn cut<K>(mut rows: Vec<R>, request: &PageRequest<K>, total: Option<i64>) -> Self {
        let limit = usize::try_from(request.limit()).unwrap_or(0);
        let has_next = rows.len() > limit;
        rows.truncate(limit);
        Self {
            rows,
            has_next,
            has_previous: request.after.is_some(),
            total_count: total,
        }
    }
}
