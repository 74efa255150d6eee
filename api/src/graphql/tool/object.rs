//! The tool, and what belongs to it.

use async_graphql::{Context, Enum, ID, Object, SimpleObject, dataloader::DataLoader};
use serde_json::Value;
use toolroom_domain::{
    connector::{self, ActionSpec},
    tool::Kind,
};
use toolroom_projections::catalog::{ToolRow, VersionRow};

use super::{
    loader::{RecentRuns, ToolKey, ToolLoader},
    spec,
};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
        scalar::DateTime,
    },
    service::{
        jobs::RUN_ACTION,
        tool_health,
        tools::{self, actions},
    },
};

/// How a tool is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ToolKind {
    /// A Rust function compiled in.
    Native,
    /// A POST of the input as JSON to an endpoint.
    External,
    /// A REST call described by JSON.
    Rest,
    /// A service's connector.
    Connector,
    /// A Python function.
    Python,
}

impl From<Kind> for ToolKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Native => Self::Native,
            Kind::External => Self::External,
            Kind::Rest => Self::Rest,
            Kind::Connector => Self::Connector,
        }
    }
}

/// For whom a tool is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ToolSpecFormat {
    /// OpenAI's function calling in Chat Completions.
    Openai,
    /// OpenAI's function calling in the Responses API.
    OpenaiResponses,
    /// Anthropic's tool use.
    Anthropic,
    /// The Model Context Protocol.
    Mcp,
}

/// What kind of thing an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "connector::ActionType")]
pub enum ActionType {
    /// Sends a message.
    Message,
    /// Makes something.
    Create,
    /// Changes something.
    Update,
    /// Removes something.
    Delete,
    /// Reads or computes something.
    Query,
}

/// How a tool's runs have gone of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "tool_health::Status")]
pub enum HealthStatus {
    /// Fewer than one in ten of its last runs failed by its fault, or none was run within a day.
    Healthy,
    /// At least one in ten did.
    Degraded,
    /// At least half of them did, or calls are not let through.
    Failing,
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "tool_health::Circuit")]
pub enum CircuitState {
    /// They are.
    Closed,
    /// They are not.
    Open,
    /// One is, to see how it goes.
    HalfOpen,
}

/// How a run is bounded and repeated.
#[derive(SimpleObject)]
pub struct ToolPolicy {
    /// The longest that one attempt may take.
    timeout_ms: i32,
    /// How often a run is attempted in all. Only what may succeed later is repeated, and never a call
    /// of which nobody knows whether it arrived.
    max_attempts: i32,
    /// The pause before the second attempt.
    initial_delay_ms: i32,
    /// The longest pause.
    max_delay_ms: i32,
    /// By how much each pause is longer than the last.
    backoff_multiplier: f64,
    /// Whether pauses are spread at random.
    jitter: bool,
    /// Whether the tool may reach the network.
    network: bool,
}

/// What can be done with a tool.
#[derive(SimpleObject)]
pub struct ToolAction {
    /// The action's id.
    id: ID,
    /// Its name; of a connector's action a name for people, of others what `action` takes.
    name: String,
    /// What it does.
    description: String,
    /// What kind of thing it does.
    action_type: ActionType,
    /// JSON Schema of its input.
    input_schema: Value,
    /// JSON Schema of its output, if promised.
    output_schema: Option<Value>,
}

impl From<ActionSpec> for ToolAction {
    fn from(action: ActionSpec) -> Self {
        Self {
            id: action.id.into(),
            name: action.name,
            description: action.description,
            action_type: action.action_type.into(),
            input_schema: action.input_schema,
            output_schema: action.output_schema,
        }
    }
}

/// How a tool's last runs have gone, of those within a day.
#[derive(SimpleObject)]
pub struct ToolHealth {
    /// In one word.
    status: HealthStatus,
    /// How long half of them took at the most.
    latency_ms: Option<f64>,
    /// Whether calls are let through.
    circuit: CircuitState,
}

/// One version of a tool.
#[derive(SimpleObject)]
pub struct ToolVersion {
    /// Counts from 1.
    version: i32,
    /// When it was made.
    changed_at: DateTime,
    /// Who made it.
    changed_by: String,
    /// As it was registered; secrets stay references.
    config: Value,
}

impl From<VersionRow> for ToolVersion {
    fn from(row: VersionRow) -> Self {
        Self {
            version: int(row.version),
            changed_at: row.changed_at.into(),
            changed_by: row.changed_by,
            config: tools::config(&row.definition),
        }
    }
}

/// Something that can be run.
pub struct ToolObject(pub ToolRow);

/// Something that can be run.
#[Object(name = "Tool")]
impl ToolObject {
    /// The tool's id.
    pub async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The integer id that integer-id clients use; never reused.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// Unique in the workspace.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is run.
    async fn kind(&self) -> ToolKind {
        self.0.kind.into()
    }

    /// NATIVE, EXTERNAL, REST, PYTHON, or the connector's: SLACK, DISCORD and so on.
    #[graphql(name = "type")]
    async fn tool_type(&self) -> &str {
        self.0.definition.config.type_name()
    }

    /// A name for people.
    async fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// What it is for.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// A free grouping.
    async fn category(&self) -> Option<&str> {
        self.0.category.as_deref()
    }

    /// Free labels.
    async fn tags(&self) -> &[String] {
        &self.0.tags
    }

    /// Whether it may run.
    async fn is_active(&self) -> bool {
        self.0.is_active
    }

    /// Whether it left the catalogue. Deleting frees the name; restoring claims it again.
    async fn is_deleted(&self) -> bool {
        self.0.is_deleted
    }

    /// 1 on registration, one more with every change of what it does.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }

    /// What it did from version to version, the oldest first.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<ToolVersion>, ApiError> {
        let id = self.0.id;
        let scope = Scope::new(ctx, "versions", &id, first, 20, after.as_deref())?;
        let page = scope.page(|key| key.parse().ok())?;
        let page = tools::versions(app(ctx), request(ctx)?, id, &page).await?;
        Ok(scope.connection(page, |row| row.version.to_string(), ToolVersion::from))
    }

    /// Who registered it.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// Whether a person must agree to each call that a model asks for.
    async fn requires_approval(&self) -> bool {
        self.0.definition.requires_approval
    }

    /// How a run is bounded and repeated.
    async fn policy(&self) -> ToolPolicy {
        let policy = self.0.definition.policy.resolve();
        ToolPolicy {
            timeout_ms: int(policy.timeout_ms),
            max_attempts: int(policy.max_attempts),
            initial_delay_ms: int(policy.initial_delay_ms),
            max_delay_ms: int(policy.max_delay_ms),
            backoff_multiplier: policy.backoff_multiplier,
            jitter: policy.jitter,
            network: policy.network,
        }
    }

    /// The tool as a model is shown it: one function. Of a tool that has several actions a list of
    /// functions, one an action, or with `action` the one of that action.
    async fn function_spec(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ToolSpecFormat::Openai")] format: ToolSpecFormat,
        action: Option<String>,
    ) -> Result<Value, ApiError> {
        spec::function_spec(app(ctx), &self.0, format, action.as_deref())
    }

    /// JSON Schema of the input. Of a tool that has several actions, each has its own.
    async fn input_schema(&self, ctx: &Context<'_>) -> Value {
        actions::schemas(app(ctx), &self.0.definition).0.clone()
    }

    /// JSON Schema of the output, if promised.
    async fn output_schema(&self, ctx: &Context<'_>) -> Option<Value> {
        actions::schemas(app(ctx), &self.0.definition).1.cloned()
    }

    /// What can be done with it: at least one thing.
    async fn actions(&self, ctx: &Context<'_>) -> Vec<ToolAction> {
        let tool = &self.0;
        let all = actions::actions(app(ctx), &tool.description, &tool.definition);
        let mut all: Vec<ToolAction> = all.into_iter().map(ToolAction::from).collect();
        if let [only] = &mut all[..]
            && tool.definition.config.connector().is_none()
        {
            only.id = format!("{}.{RUN_ACTION}", tool.id).into();
        }
        all
    }

    /// As it was registered; secrets stay references, credentials never appear.
    async fn config(&self) -> Value {
        tools::config(&self.0.definition)
    }

    /// How its last runs have gone, of those within a day.
    async fn health(&self, ctx: &Context<'_>) -> Result<ToolHealth, ApiError> {
        let loader = ctx.data_unchecked::<DataLoader<ToolLoader>>();
        let key = RecentRuns(ToolKey(self.0.workspace, self.0.id));
        let recent = loader.load_one(key).await?;
        let now = app(ctx).clock.now();
        let health = tool_health::judge(recent.as_ref(), self.0.circuit_open_until, now);
        Ok(ToolHealth {
            status: health.status.into(),
            latency_ms: health.latency_ms,
            circuit: health.circuit.into(),
        })
    }

    /// When it was registered.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }
}

/// A count or a time as the contract's 32-bit integer; all are bounded far below its end.
pub(in crate::graphql) fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
