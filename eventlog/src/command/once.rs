//! Commands that change no aggregate: what operators do to the server itself.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::PgConnection;

use super::{CommandBus, CommandContext, CommandError, memory};
use crate::append::CommandRecord;

/// By what a named command is remembered, to be kept in the transaction that carries it out: then
/// it has both its effect and its memory, or neither.
#[derive(Debug)]
pub struct Receipt {
    workspace: String,
    record: CommandRecord,
    kind: &'static str,
    id: String,
}

impl Receipt {
    /// Keeps what the command answers, in the caller's transaction.
    ///
    /// # Errors
    /// When the database does not answer, or another node has carried the same command out.
    pub async fn keep_in_tx(
        &self,
        tx: &mut PgConnection,
        outcome: &impl Serialize,
    ) -> Result<(), sqlx::Error> {
        let outcome =
            serde_json::to_string(outcome).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        sqlx::query(
            "insert into command_log
                 (workspace_id, actor, command_id, digest, aggregate_type, aggregate_id, outcome)
             values ($1, $2, $3, $4, $5, $6, $7::json)",
        )
        .bind(&self.workspace)
        .bind(&self.record.actor)
        .bind(&self.record.command_id)
        .bind(&self.record.digest)
        .bind(self.kind)
        .bind(&self.id)
        .bind(outcome)
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl CommandBus {
    /// Carries out a command on something that is no aggregate, the `kind` and `id` of which tell
    /// what. `act` keeps the receipt that it is given, if the command is named, with its answer.
    /// Sent again under the same id the command gives that answer and `act` is not called.
    ///
    /// # Errors
    /// [`CommandError::Refused`] with the error of `act`, which is not remembered;
    /// [`CommandError::IdempotencyConflict`] when the id belongs to another request.
    pub async fn once<T, E>(
        &self,
        context: &CommandContext,
        kind: &'static str,
        id: &str,
        act: impl AsyncFnOnce(Option<Receipt>) -> Result<T, E>,
    ) -> Result<T, CommandError<E>>
    where
        T: DeserializeOwned,
        E: std::error::Error,
    {
        let Some(named) = &context.named else {
            return act(None).await.map_err(CommandError::Refused);
        };
        let _turn = self.in_flight.turn(context, named).await;
        if let Some(first) = self.kept(context, kind).await? {
            return Ok(first);
        }
        let receipt = Receipt {
            workspace: context.workspace.to_string(),
            record: memory::record(&self.digest_key, context, named),
            kind,
            id: id.to_owned(),
        };
        match act(Some(receipt)).await {
            Ok(outcome) => Ok(outcome),
            // Another node may have been quicker with the same command.
            Err(error) => match self.kept(context, kind).await? {
                Some(first) => Ok(first),
                None => Err(CommandError::Refused(error)),
            },
        }
    }

    /// What a command answered that was sent before under this id; none if it is new.
    async fn kept<T, E>(
        &self,
        context: &CommandContext,
        kind: &str,
    ) -> Result<Option<T>, CommandError<E>>
    where
        T: DeserializeOwned,
        E: std::error::Error,
    {
        let Some(found) = self.remembered(context, kind).await? else {
            return Ok(None);
        };
        let outcome = found.outcome.as_deref().unwrap_or("null");
        serde_json::from_str(outcome)
            .map(Some)
            .map_err(|error| CommandError::Internal(Box::new(error)))
    }
}
