//! How queries are sent: so that a reader survives the swap of a rebuilt table.

use serde::de::DeserializeOwned;
use sqlx::{Connection, PgConnection, PgPool, Postgres, QueryBuilder, Row, postgres::PgRow};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::Reads;

use crate::page::{Page, PageRequest};

/// A statement under construction, all values its own.
pub(crate) type Statement = QueryBuilder<'static, Postgres>;

/// Whether an error may come from tables that were exchanged while the statement was on its way:
/// a cached plan of other columns, or a table or column that is not there for this instant.
fn is_swap(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    matches!(code.as_deref(), Some("0A000" | "42P01" | "42703" | "XX000"))
}

/// What a row is read as.
type Read<R> = fn(&PgRow) -> Result<R, sqlx::Error>;

/// All rows of a statement.
pub(crate) async fn all<R>(
    reads: &Reads,
    workspace: WorkspaceId,
    read: Read<R>,
    statement: impl Fn() -> Statement,
) -> Result<Vec<R>, sqlx::Error> {
    fetch(reads, workspace, statement)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The first row of a statement, if it gives any.
pub(crate) async fn first<R>(
    reads: &Reads,
    workspace: WorkspaceId,
    read: Read<R>,
    statement: impl Fn() -> Statement,
) -> Result<Option<R>, sqlx::Error> {
    let rows = fetch(reads, workspace, statement).await?;
    rows.first().map(read).transpose()
}

/// The part of a list that is asked for: `statement` gives up to one row more than the page holds,
/// `count` is sent if the list is to be counted.
pub(crate) async fn page<K, R>(
    reads: &Reads,
    workspace: WorkspaceId,
    request: &PageRequest<K>,
    read: Read<R>,
    statement: impl Fn() -> Statement,
    count: impl Fn() -> Statement,
) -> Result<Page<R>, sqlx::Error> {
    let rows = all(reads, workspace, read, statement).await?;
    let total = if request.with_total {
        let counted = first(reads, workspace, |row| row.try_get(0), count).await?;
        Some(counted.unwrap_or(0))
    } else {
        None
    };
    Ok(Page::cut(rows, request, total))
}

/// Runs a statement, which sees the rows of this workspace and no others, and once more if its tables were exchanged meanwhile.
async fn fetch(
    reads: &Reads,
    workspace: WorkspaceId,
    statement: impl Fn() -> Statement,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut scoped = reads.acquire(workspace).await?;
    let rows = send(scoped.connection(), statement).await?;
    scoped.give_back();
    Ok(rows)
}

/// As [`all`], over a pool whose role sees all workspaces.
pub(crate) async fn all_across<R>(
    pool: &PgPool,
    read: Read<R>,
    statement: impl Fn() -> Statement,
) -> Result<Vec<R>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let rows = send(&mut connection, statement).await?;
    rows.iter().map(read).collect()
}

/// As [`page`], over a pool whose role sees all workspaces.
pub(crate) async fn page_across<K, R>(
    pool: &PgPool,
    request: &PageRequest<K>,
    read: Read<R>,
    statement: impl Fn() -> Statement,
    count: impl Fn() -> Statement,
) -> Result<Page<R>, sqlx::Error> {
    let rows = all_across(pool, read, statement).await?;
    let total = if request.with_total {
        let counted = all_across(pool, |row| row.try_get(0), count).await?;
        Some(counted.first().copied().unwrap_or(0))
    } else {
        None
    };
    Ok(Page::cut(rows, request, total))
}

async fn send(
    connection: &mut PgConnection,
    statement: impl Fn() -> Statement,
) -> Result<Vec<PgRow>, sqlx::Error> {
    match statement().build().fetch_all(&mut *connection).await {
        Err(error) if is_swap(&error) => {
            connection.clear_cached_statements().await?;
            statement().build().fetch_all(connection).await
        }
        outcome => outcome,
    }
}

/// A column of JSON text as a value.
pub(crate) fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    parse(column, row.try_get(column)?)
}

/// As [`json`], of a column that may be null.
pub(crate) fn json_opt<T: DeserializeOwned>(
    row: &PgRow,
    column: &str,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| parse(column, text)).transpose()
}

fn parse<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    })
}

/// A column of text that names a variant, as serde writes it.
pub(crate) fn variant<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| {
        sqlx::Error::ColumnDecode {
            index: column.to_owned(),
            source: Box::new(error),
        }
    })
}

/// The number of a column that is never negative.
pub(crate) fn unsigned<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("{number} is out of range").into(),
    })
}

/// A text as a pattern of `like` that finds it anywhere.
pub(crate) fn contains_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_for_wildcards_finds_wildcards_only() {
        assert_eq!(contains_pattern("50%_\\"), "%50\\%\\_\\\\%");
    }
}
