//! How queries are sent: so that a reader survives the swap of a rebuilt table.

use serde::de::DeserializeOwned;
use sqlx::{Connection, PgPool, Postgres, QueryBuilder, Row, postgres::PgRow};

/// A statement under construction, all values its own.
pub(crate) type Statement = QueryBuilder<'static, Postgres>;

/// Whether an error may come from tables that were exchanged while the statement was on its way:
/// a cached plan of other columns, or a table or column that is not there for this instant.
fn is_swap(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    matches!(code.as_deref(), Some("0A000" | "42P01" | "42703" | "XX000"))
}

/// Runs a statement, and once more if its tables were exchanged meanwhile.
pub(crate) async fn fetch(
    pool: &PgPool,
    statement: impl Fn() -> Statement,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    match statement().build().fetch_all(&mut *connection).await {
        Err(error) if is_swap(&error) => {
            connection.clear_cached_statements().await?;
            statement().build().fetch_all(&mut *connection).await
        }
        outcome => outcome,
    }
}

/// As [`fetch`], for a statement that gives one number.
pub(crate) async fn fetch_count(
    pool: &PgPool,
    statement: impl Fn() -> Statement,
) -> Result<i64, sqlx::Error> {
    let rows = fetch(pool, statement).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
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
