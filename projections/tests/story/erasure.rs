//! An erased workspace is in no read model, whenever its last events come.

use toolroom_domain::{
    UserId,
    job::{self, Job},
    workspace::{Command, Plan, Sender, Workspace},
};
use toolroom_eventlog::{append::SideRow, command::Target};
use toolroom_projections::rebuild_blocking;

use crate::support::{App, WORKSPACE, at, context};

async fn send(app: &App, command: Command, side: Vec<SideRow>) {
    let target = Target::<Workspace>::Existing(WORKSPACE.to_string());
    let context = toolroom_eventlog::CommandContext { side, ..context() };
    app.log
        .bus
        .execute(target, command, &context)
        .await
        .unwrap();
}

/// The read models in which there is anything of the workspace.
async fn holding(app: &App) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'projections'::regnamespace and relkind = 'r' order by relname",
    )
    .fetch_all(&app.owner)
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!(
            "select exists (select from projections.{table}
                            where workspace_id::text in ($1, $2))"
        );
        let holds: bool = sqlx::query_scalar(&sql)
            .bind(WORKSPACE.to_string())
            .bind(WORKSPACE.uuid().to_string())
            .fetch_one(&app.owner)
            .await
            .unwrap();
        if holds {
            found.push(table);
        }
    }
    found
}

#[tokio::test]
async fn an_erased_workspace_leaves_every_read_model_and_late_events_poison_none() {
    let app = App::start().await;
    let create = Command::Create {
        id: WORKSPACE,
        name: "Acme".to_owned(),
        owner: UserId::local(),
        owner_email: None,
        time_zone: "UTC".to_owned(),
        plan: Plan::Free,
        at: at(1),
    };
    send(&app, create, Vec::new()).await;
    let tool = app.register("echo").await;
    let jobs = [app.request(tool).await, app.request(tool).await];
    app.settled().await;
    assert!(holding(&app).await.len() > 4);

    let erase = Command::Erase {
        sender: Sender::Operator,
        at: at(9),
    };
    send(&app, erase, vec![SideRow::Erase]).await;
    // What was under way is brought to an end.
    for id in jobs {
        let cancel = job::Command::Cancel {
            reason: None,
            at: at(10),
        };
        let target = Target::<Job>::Existing(id.to_string());
        let system = toolroom_eventlog::CommandContext::system(WORKSPACE, "test", String::new());
        app.log.bus.execute(target, cancel, &system).await.unwrap();
    }
    app.settled().await;
    assert_eq!(holding(&app).await, ["audit"]);
    let poison: i64 = sqlx::query_scalar("select count(*) from dead_letters")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(poison, 0);

    let audit = "select event_type from projections.audit order by position";
    let kept = || sqlx::query_scalar::<_, String>(audit).fetch_all(&app.owner);
    assert_eq!(kept().await.unwrap(), ["WorkspaceErased"]);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let all = toolroom_projections::all();
    rebuild_blocking(&app.log, &all, "all", &shutdown, |_| {})
        .await
        .unwrap();
    assert_eq!(holding(&app).await, ["audit"]);
    assert_eq!(kept().await.unwrap(), ["WorkspaceErased"]);
    app.stop().await;
}
