//! Append: all or nothing, append-only, names unique.

use sqlx::Row;
use toolroom_domain::tool::{Command, DetailsPatch, Tool};
use toolroom_eventlog::{
    command::{CommandError, Target},
    database::COMMITTER,
};

use crate::support::{Started, context};

#[tokio::test]
async fn a_name_has_one_holder_until_it_is_released() {
    let app = Started::new().await;
    let first = app.register("weather").await.unwrap();
    assert!(matches!(
        app.register("weather").await,
        Err(CommandError::NameTaken { ref key, .. }) if key == "weather"
    ));
    let delete = Command::Delete {
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let target = Target::<Tool>::Existing(first.aggregate_id.clone());
    app.log
        .bus
        .execute(target, delete, &context())
        .await
        .unwrap();
    app.register("weather").await.unwrap();
    let restore = Command::RestoreVersion {
        version: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let target = Target::<Tool>::Existing(first.aggregate_id);
    assert!(matches!(
        app.log.bus.execute(target, restore, &context()).await,
        Err(CommandError::NameTaken { .. })
    ));
    app.stop().await;
}

#[tokio::test]
async fn of_many_who_want_one_name_at_once_one_gets_it() {
    let app = Started::new().await;
    let wishes = (0..50).map(|_| app.register("weather"));
    let outcomes = futures::future::join_all(wishes).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Ok(_) | Err(CommandError::NameTaken { .. })))
    );
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(events, 1, "a refused command leaves nothing");
    app.stop().await;
}

#[tokio::test]
async fn a_guilty_command_is_refused_and_its_neighbours_are_not() {
    let app = Started::new().await;
    app.register("taken").await.unwrap();
    let names: Vec<String> = (0..40)
        .map(|i| {
            if i % 8 == 0 {
                "taken".to_owned()
            } else {
                format!("free{i}")
            }
        })
        .collect();
    let outcomes = futures::future::join_all(names.iter().map(|name| app.register(name))).await;
    for (name, outcome) in names.iter().zip(&outcomes) {
        assert_eq!(outcome.is_ok(), name != "taken", "{name}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_rename_moves_the_claim() {
    let app = Started::new().await;
    let tool = app.register("old").await.unwrap();
    let rename = Command::Revise {
        expected_version: None,
        details: DetailsPatch {
            name: Some("new".to_owned()),
            ..DetailsPatch::default()
        },
        definition: None,
        active: None,
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let target = Target::<Tool>::Existing(tool.aggregate_id);
    app.log
        .bus
        .execute(target, rename, &context())
        .await
        .unwrap();
    app.register("old").await.unwrap();
    assert!(matches!(
        app.register("new").await,
        Err(CommandError::NameTaken { .. })
    ));
    app.stop().await;
}

#[tokio::test]
async fn many_changes_of_one_aggregate_at_once_all_come_through() {
    let app = Started::new().await;
    let tool = app.register("busy").await.unwrap();
    let changes = (0..32).map(|i| {
        let revise = Command::Revise {
            expected_version: None,
            details: DetailsPatch {
                description: Some(format!("change {i}")),
                ..DetailsPatch::default()
            },
            definition: None,
            active: None,
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let target = Target::<Tool>::Existing(tool.aggregate_id.clone());
        let log = &app.log;
        async move { log.bus.execute(target, revise, &context()).await }
    });
    let outcomes = futures::future::join_all(changes).await;
    let done = outcomes.iter().filter(|o| o.is_ok()).count();
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Ok(_) | Err(CommandError::Contended)))
    );
    let last = app
        .log
        .bus
        .load::<Tool>(toolroom_domain::WorkspaceId::DEFAULT, &tool.aggregate_id)
        .await
        .unwrap();
    assert_eq!(
        last.sequence,
        1 + done,
        "each success is one event, each refusal none"
    );
    assert!(done >= 16, "only {done} of 32 came through the retries");
    app.stop().await;
}

#[tokio::test]
async fn the_log_cannot_be_changed_by_trigger_nor_by_grant() {
    let app = Started::new().await;
    app.register("kept").await.unwrap();
    app.reaches(1).await;
    for table in ["events", "event_log"] {
        for statement in [
            format!("update {table} set sequence = 9"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            // the owner is stopped by the trigger
            let error = sqlx::query(&statement)
                .execute(&app.owner)
                .await
                .unwrap_err();
            assert!(
                error.to_string().contains("append-only"),
                "{statement}: {error}"
            );
            // the server's role has not even the privilege
            let error = sqlx::query(&statement)
                .execute(app.log.database.committer_pool())
                .await
                .unwrap_err();
            assert!(
                error.to_string().contains("permission denied"),
                "{statement}: {error}"
            );
        }
    }
    let row = sqlx::query("select current_user::text as who")
        .fetch_one(app.log.database.committer_pool())
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>("who"), COMMITTER);
    app.stop().await;
}

#[tokio::test]
async fn the_generated_columns_say_who_and_why() {
    let app = Started::new().await;
    let mut context = context();
    context.causation_id = Some("evt-1".to_owned());
    crate::support::register(&app.log, "told", context.clone())
        .await
        .unwrap();
    let row = sqlx::query(
        "select workspace_id, actor, correlation_id, causation_id, command_id from events",
    )
    .fetch_one(&app.owner)
    .await
    .unwrap();
    assert_eq!(
        row.get::<String, _>("workspace_id"),
        context.workspace.to_string()
    );
    assert_eq!(row.get::<String, _>("actor"), "user:local");
    assert_eq!(
        row.get::<String, _>("correlation_id"),
        context.correlation_id
    );
    assert_eq!(row.get::<String, _>("causation_id"), "evt-1");
    assert_eq!(
        row.get::<String, _>("command_id").len(),
        32,
        "an id is made up where none was sent"
    );
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_found_from_another_workspace() {
    let app = Started::new().await;
    let tool = app.register("mine").await.unwrap();
    let mut foreign = context();
    foreign.workspace = toolroom_domain::WorkspaceId::from_uuid(toolroom_eventlog::ids::new_uuid());
    let delete = Command::Delete {
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let target = Target::<Tool>::Existing(tool.aggregate_id.clone());
    assert!(matches!(
        app.log.bus.execute(target, delete, &foreign).await,
        Err(CommandError::NotFound)
    ));
    assert!(matches!(
        app.log
            .bus
            .load::<Tool>(foreign.workspace, &tool.aggregate_id)
            .await,
        Err(CommandError::NotFound)
    ));
    app.stop().await;
}
