//! Relay connections over the pages of the read models, with cursors that bind filter and order.

use async_graphql::{
    Context, OutputType, SimpleObject,
    connection::{
        Connection, ConnectionNameType, DefaultConnectionName, DefaultEdgeName, Edge, EmptyFields,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use toolroom_projections::{Page, PageRequest};
use uuid::Uuid;

use crate::error::ApiError;

/// Rows of one page at the most.
pub const MAX_FIRST: i32 = 200;

/// Grows when the keys within cursors change their form.
const CURSOR_VERSION: &str = "1";

/// Characters of a cursor at the most: version, scope and the longest key.
const CURSOR_CHARS: usize = 400;

/// What a connection has beside edges and nodes.
#[derive(SimpleObject)]
pub struct Counted {
    /// Of how many this page is a part. Counted only when it is selected.
    total_count: i32,
}

/// A connection of the contract.
pub type Listed<Node, Name = DefaultConnectionName> =
    Connection<String, Node, Counted, EmptyFields, Name, DefaultEdgeName>;

/// One list as it was asked for: what a cursor of it is bound to.
pub struct Scope {
    digest: String,
    first: i64,
    after: Option<String>,
    with_total: bool,
}

impl Scope {
    /// The list called `name` with these arguments but `first` and `after`.
    ///
    /// # Errors
    /// When `first` is out of bounds, or `after` is no cursor of this list.
    pub fn new(
        ctx: &Context<'_>,
        name: &str,
        arguments: &impl Serialize,
        first: Option<i32>,
        default_first: i32,
        after: Option<&str>,
    ) -> Result<Self, ApiError> {
        let first = first.unwrap_or(default_first);
        if !(1..=MAX_FIRST).contains(&first) {
            let problem = format!("must be from 1 to {MAX_FIRST}");
            return Err(ApiError::invalid_field("first", problem));
        }
        let arguments = serde_json::to_vec(&(name, arguments)).map_err(ApiError::internal)?;
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, &arguments);
        let digest = URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..9]);
        let after = after.map(|cursor| key(cursor, &digest)).transpose()?;
        Ok(Self {
            digest,
            first: first.into(),
            after,
            with_total: ctx.look_ahead().field("totalCount").exists(),
        })
    }

    /// The part that is wanted, its key read by `parse`.
    ///
    /// # Errors
    /// When the cursor's key is not one of this list.
    pub fn page<K>(
        &self,
        parse: impl FnOnce(&str) -> Option<K>,
    ) -> Result<PageRequest<K>, ApiError> {
        let after = match &self.after {
            None => None,
            Some(key) => Some(parse(key).ok_or_else(no_cursor)?),
        };
        Ok(PageRequest {
            first: self.first,
            after,
            with_total: self.with_total,
        })
    }

    /// The connection of a page: each row's key, and its node.
    pub fn connection<R, N, Name>(
        &self,
        page: Page<R>,
        key: impl Fn(&R) -> String,
        node: impl Fn(R) -> N,
    ) -> Listed<N, Name>
    where
        N: OutputType,
        Name: ConnectionNameType,
    {
        let counted = Counted {
            total_count: saturated(page.total_count.unwrap_or_default()),
        };
        let mut connection =
            Connection::with_additional_fields(page.has_previous, page.has_next, counted);
        let edge = |row| self.edge(&key(&row), node(row));
        connection.edges.extend(page.rows.into_iter().map(edge));
        connection
    }

    /// A row of the list on its own: its key, and its node.
    pub fn edge<N: OutputType>(
        &self,
        key: &str,
        node: N,
    ) -> Edge<String, N, EmptyFields, DefaultEdgeName> {
        let plain = format!("{CURSOR_VERSION}.{}.{key}", self.digest);
        Edge::new(URL_SAFE_NO_PAD.encode(plain), node)
    }
}

/// A connection that has nothing in it.
pub fn nothing<N: OutputType, Name: ConnectionNameType>() -> Listed<N, Name> {
    Connection::with_additional_fields(false, false, Counted { total_count: 0 })
}

/// What a list costs of the query's allowance: each row what its fields cost.
pub fn cost(first: Option<i32>, default_first: i32, child: usize) -> usize {
    let rows = first.unwrap_or(default_first).clamp(1, MAX_FIRST);
    usize::try_from(rows).unwrap_or(1).saturating_mul(child)
}

/// A count as the contract's 32-bit integer: it stops at the largest.
pub fn saturated(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(if count < 0 { 0 } else { i32::MAX })
}

fn key(cursor: &str, digest: &str) -> Result<String, ApiError> {
    if cursor.len() > CURSOR_CHARS {
        return Err(no_cursor());
    }
    let plain = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| no_cursor())?;
    let plain = String::from_utf8(plain).map_err(|_| no_cursor())?;
    let mut parts = plain.splitn(3, '.');
    let (Some(CURSOR_VERSION), Some(of), Some(key)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(no_cursor());
    };
    if of != digest {
        return Err(ApiError::invalid_field(
            "after",
            "is a cursor of another list, filter or order; read that list on, or this one from its beginning",
        ));
    }
    Ok(key.to_owned())
}

fn no_cursor() -> ApiError {
    ApiError::invalid_field(
        "after",
        "is not a cursor; take it from `cursor` or `endCursor`",
    )
}
