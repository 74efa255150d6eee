//! Commands: sent twice they count once.

use toolroom_domain::{
    WorkspaceId,
    tool::{Command, Tool},
};
use toolroom_eventlog::{
    CommandContext,
    command::{CommandError, Receipt, Target},
};

use crate::support::{Started, named, register};

#[tokio::test]
async fn one_command_id_from_fifty_tasks_at_once_has_one_outcome() {
    let app = Started::new().await;
    let sent = (0..50).map(|_| register(&app.log, "once", named("cmd-1", "register once")));
    let outcomes = futures::future::join_all(sent).await;
    let ids: std::collections::HashSet<_> = outcomes
        .iter()
        .map(|o| o.as_ref().unwrap().aggregate_id.clone())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        outcomes
            .iter()
            .filter(|o| !o.as_ref().unwrap().repeated)
            .count(),
        1
    );
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(events, 1);
    app.stop().await;
}

#[tokio::test]
async fn one_command_id_on_two_nodes_at_once_has_one_outcome() {
    let here = Started::new().await;
    let there = Started::on(
        here.log.database.owner_options().clone(),
        Default::default(),
    )
    .await;
    let sent = (0..40).map(|i| {
        let node = if i % 2 == 0 { &here.log } else { &there.log };
        register(node, "once", named("cmd-1", "register once"))
    });
    let outcomes = futures::future::join_all(sent).await;
    let ids: std::collections::HashSet<_> = outcomes
        .iter()
        .map(|o| o.as_ref().unwrap().aggregate_id.clone())
        .collect();
    assert_eq!(ids.len(), 1);
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&here.owner)
        .await
        .unwrap();
    assert_eq!(events, 1);
    there.stop().await;
    here.stop().await;
}

/// Counts how often a command that changes no aggregate was carried out.
async fn count(app: &Started, context: &CommandContext) -> Result<i32, CommandError<sqlx::Error>> {
    let act = async |receipt: Option<Receipt>| {
        let mut tx = app.owner.begin().await?;
        let count: i32 = sqlx::query_scalar(
            "insert into numbers (workspace_id, kind, last) values ('here', 'count', 1)
             on conflict (workspace_id, kind) do update set last = numbers.last + 1
             returning last",
        )
        .fetch_one(&mut *tx)
        .await?;
        if let Some(receipt) = receipt {
            receipt.keep_in_tx(&mut tx, &count).await?;
        }
        tx.commit().await?;
        Ok(count)
    };
    app.log.bus.once(context, "counter", "count", act).await
}

#[tokio::test]
async fn a_command_on_no_aggregate_has_one_outcome_on_two_nodes_at_once() {
    let here = Started::new().await;
    let there = Started::on(
        here.log.database.owner_options().clone(),
        Default::default(),
    )
    .await;
    let context = named("cmd-1", "count");
    let sent = (0..40).map(|i| count(if i % 2 == 0 { &here } else { &there }, &context));
    for outcome in futures::future::join_all(sent).await {
        assert_eq!(outcome.unwrap(), 1);
    }
    assert!(matches!(
        count(&here, &named("cmd-1", "count again")).await,
        Err(CommandError::IdempotencyConflict)
    ));
    assert!(matches!(
        register(&here.log, "once", named("cmd-1", "count")).await,
        Err(CommandError::IdempotencyConflict)
    ));
    assert_eq!(count(&there, &context).await.unwrap(), 1);
    assert_eq!(count(&there, &crate::support::context()).await.unwrap(), 2);
    there.stop().await;
    here.stop().await;
}

#[tokio::test]
async fn a_repeat_says_where_the_first_is_and_appends_nothing() {
    let app = Started::new().await;
    let first = register(&app.log, "once", named("cmd-1", "a"))
        .await
        .unwrap();
    let again = register(&app.log, "once", named("cmd-1", "a"))
        .await
        .unwrap();
    assert!(again.repeated);
    assert_eq!(again.aggregate_id, first.aggregate_id);
    assert_eq!(again.global_seq, first.global_seq);
    app.stop().await;
}

#[tokio::test]
async fn an_id_used_for_another_request_is_refused() {
    let app = Started::new().await;
    register(&app.log, "once", named("cmd-1", "a"))
        .await
        .unwrap();
    assert!(matches!(
        register(&app.log, "other", named("cmd-1", "b")).await,
        Err(CommandError::IdempotencyConflict)
    ));
    app.stop().await;
}

#[tokio::test]
async fn a_command_that_changes_nothing_is_remembered_too() {
    let app = Started::new().await;
    let tool = app.register("still").await.unwrap();
    let activate = || {
        let command = Command::Activate {
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let target = Target::<Tool>::Existing(tool.aggregate_id.clone());
        let log = &app.log;
        async move {
            log.bus
                .execute(target, command, &named("cmd-2", "activate"))
                .await
                .unwrap()
        }
    };
    let first = activate().await;
    assert_eq!((first.global_seq, first.repeated), (None, false));
    assert!(activate().await.repeated);
    app.stop().await;
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let app = Started::new().await;
    app.register("taken").await.unwrap();
    assert!(
        register(&app.log, "taken", named("cmd-1", "a"))
            .await
            .is_err()
    );
    let free = Command::Delete {
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let holder: String = sqlx::query_scalar("select aggregate_id from claims")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    app.log
        .bus
        .execute(
            Target::<Tool>::Existing(holder),
            free,
            &crate::support::context(),
        )
        .await
        .unwrap();
    let now = register(&app.log, "taken", named("cmd-1", "a"))
        .await
        .unwrap();
    assert!(!now.repeated);
    app.stop().await;
}

#[tokio::test]
async fn commands_on_one_aggregate_are_one_append_or_nothing() {
    let app = Started::new().await;
    let tool = app.register("both").await.unwrap().aggregate_id;
    let at = jiff::Timestamp::UNIX_EPOCH;
    let (on, off, gone) = (
        Command::Activate { at },
        Command::Deactivate { at },
        Command::Delete { at },
    );
    let all = async |commands: &[Command]| {
        let target = Target::<Tool>::Existing(tool.clone());
        let context = crate::support::context();
        app.log.bus.execute_all(target, commands, &context).await
    };
    let refused = all(&[off.clone(), gone.clone(), on.clone()]).await;
    assert!(
        matches!(refused, Err(CommandError::Refused(_))),
        "{refused:?}"
    );
    let loaded = app.log.bus.load::<Tool>(WorkspaceId::DEFAULT, &tool).await;
    let before = loaded.unwrap().sequence;
    let done = all(&[off, on, gone]).await.unwrap();
    assert_eq!(done.after.sequence, before + 3);
    let (events, appends): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct tx_id) from events where sequence > $1")
            .bind(i64::try_from(before).unwrap())
            .fetch_one(&app.owner)
            .await
            .unwrap();
    assert_eq!((events, appends), (3, 1));
    app.stop().await;
}

#[tokio::test]
async fn the_past_of_an_aggregate_can_be_loaded() {
    let app = Started::new().await;
    let tool = app.register("then").await.unwrap();
    app.reaches(1).await;
    let off = Command::Deactivate {
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let target = Target::<Tool>::Existing(tool.aggregate_id.clone());
    app.log
        .bus
        .execute(target, off, &crate::support::context())
        .await
        .unwrap();
    app.reaches(2).await;
    let at = |position| {
        app.log
            .bus
            .load_at::<Tool>(WorkspaceId::DEFAULT, &tool.aggregate_id, position)
    };
    assert!(at(0).await.unwrap().is_none());
    assert!(at(1).await.unwrap().unwrap().is_active());
    assert!(!at(2).await.unwrap().unwrap().is_active());
    app.stop().await;
}
