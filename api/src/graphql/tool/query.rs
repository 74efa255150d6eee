//! Finding tools.

use async_graphql::{Context, ID, InputObject, Object};
use serde::Serialize;
use toolroom_domain::{ErrorCode, tool::Kind};
use toolroom_projections::{
    PageRequest,
    catalog::{self, ListTools},
};

use super::object::{ToolKind, ToolObject};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost, nothing},
        request,
        scalar::DateTime,
    },
    service::tools::{self, SEARCH_CHARS},
};

/// Which tools. What is left out does not restrict.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ToolFilter {
    /// How they are run.
    kind: Option<ToolKind>,
    /// Their type, whatever its case.
    #[graphql(name = "type")]
    tool_type: Option<String>,
    /// Their category.
    category: Option<String>,
    /// A label that they carry.
    tag: Option<String>,
    /// Whether they may run.
    is_active: Option<bool>,
}

impl ToolFilter {
    /// The catalogue's filter; none when no tool can pass.
    fn of_catalog(self, search: Option<String>) -> Option<catalog::ToolFilter> {
        let kind = match self.kind {
            None => None,
            Some(ToolKind::Native) => Some(Kind::Native),
            Some(ToolKind::External) => Some(Kind::External),
            Some(ToolKind::Rest) => Some(Kind::Rest),
            Some(ToolKind::Connector) => Some(Kind::Connector),
            Some(ToolKind::Python) => return None,
        };
        Some(catalog::ToolFilter {
            kind,
            tool_type: self.tool_type.map(|text| text.to_ascii_uppercase()),
            category: self.category,
            tag: self.tag,
            is_active: self.is_active,
            search,
        })
    }
}

/// What a cursor of the list is bound to.
#[derive(Serialize)]
struct Bound<'a> {
    kind: Option<&'static str>,
    tool_type: Option<&'a str>,
    category: Option<&'a str>,
    tag: Option<&'a str>,
    is_active: Option<bool>,
    search: Option<&'a str>,
    as_of: Option<jiff::Timestamp>,
}

/// Finding tools.
#[derive(Default)]
pub struct ToolQuery;

#[Object]
impl ToolQuery {
    /// A tool as it is, or as it stood at `asOf`, by its id (or number) or its name. With `version`,
    /// what that version does.
    async fn tool(
        &self,
        ctx: &Context<'_>,
        id: Option<ID>,
        name: Option<String>,
        version: Option<i32>,
        as_of: Option<DateTime>,
    ) -> Result<Option<ToolObject>, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let found = match (&id, &name, as_of) {
            (Some(id), None, None) => tools::get(state, sender, id).await.map(Some),
            (None, Some(name), None) => tools::get_by_name(state, sender, name).await.map(Some),
            (Some(text), None, Some(at)) => tools::get_at(state, sender, text, at.0).await,
            (None, Some(name), Some(at)) => tools::get_at(state, sender, name, at.0).await,
            (None, None, _) | (Some(_), Some(_), _) => {
                return Err(ApiError::invalid_field("id", "give either `id` or `name`"));
            }
        };
        let row = match found {
            Ok(row) => row,
            Err(error) if error.code == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(mut row) = row else {
            return Ok(None);
        };
        let Some(version) = version else {
            return Ok(Some(ToolObject(row)));
        };
        // A version that came later than `asOf` was not there yet.
        let wanted = u32::try_from(version).ok().filter(|v| *v <= row.version);
        let Some(version) = wanted else {
            return Ok(None);
        };
        let Some(past) = tools::version(state, sender, row.id, version).await? else {
            return Ok(None);
        };
        row.version = past.version;
        row.kind = past.definition.config.kind();
        row.definition = past.definition;
        Ok(Some(ToolObject(row)))
    }

    /// The current catalogue, or the catalogue as it stood at `asOf`, by number.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn tools(
        &self,
        ctx: &Context<'_>,
        filter: Option<ToolFilter>,
        search: Option<String>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
        as_of: Option<DateTime>,
    ) -> Result<Listed<ToolObject>, ApiError> {
        let filter = filter.unwrap_or_default();
        if search
            .as_ref()
            .is_some_and(|s| s.chars().count() > SEARCH_CHARS)
        {
            let problem = format!("must have at most {SEARCH_CHARS} characters");
            return Err(ApiError::invalid_field("search", problem));
        }
        let as_of = as_of.map(|at| at.0);
        let Some(of_catalog) = filter.of_catalog(search) else {
            return Ok(nothing());
        };
        let bound = Bound {
            kind: of_catalog.kind.map(Kind::as_str),
            tool_type: of_catalog.tool_type.as_deref(),
            category: of_catalog.category.as_deref(),
            tag: of_catalog.tag.as_deref(),
            is_active: of_catalog.is_active,
            search: of_catalog.search.as_deref(),
            as_of,
        };
        let scope = Scope::new(ctx, "tools", &bound, first, 20, after.as_deref())?;
        let page: PageRequest<i32> = scope.page(|key| key.parse().ok())?;
        let list = ListTools {
            filter: of_catalog,
            page,
        };
        let page = tools::list(app(ctx), request(ctx)?, list, as_of).await?;
        Ok(scope.connection(page, |row| row.number.to_string(), ToolObject))
    }
}
