//! What an erasure leaves of what stands beside the log: nothing, whoever writes at the same time.

use jiff::Timestamp;
use toolroom_domain::{WorkspaceId, tool};
use toolroom_eventlog::{CommandContext, CommandError, append::SideRow, erase, ids, vault::SECRET};

use crate::support::{PATIENCE, Started, context, register};

const OURS: WorkspaceId = WorkspaceId::DEFAULT;

fn sealed(app: &Started, name: &str) -> SideRow {
    let vault = &app.log.vault;
    vault.seal_row(OURS, SECRET, name, 1, b"value").unwrap()
}

fn system() -> CommandContext {
    CommandContext::system(OURS, "test", String::new())
}

/// Writes a row beside some command of the workspace.
async fn beside(
    app: &Started,
    row: SideRow,
    context: CommandContext,
) -> Result<(), CommandError<tool::Error>> {
    let context = CommandContext {
        side: vec![row],
        ..context
    };
    register(&app.log, &ids::new_uuid().to_string(), context)
        .await
        .map(|_| ())
}

/// Rows of any kind that an erasure must leave nothing of.
async fn kept(app: &Started) -> i64 {
    let counted = sqlx::query_scalar(
        "select (select count(*) from vault where workspace_id = $1 and kind <> 'data-key')
              + (select count(*) from key_hashes where workspace_id = $1)
              + (select count(*) from invitation_tokens where workspace_id = $1)",
    );
    let counted = counted.bind(OURS.to_string());
    counted.fetch_one(&app.owner).await.unwrap()
}

fn rows_that_outlive_the_data_key(app: &Started) -> [SideRow; 3] {
    let name = ids::new_uuid().to_string();
    [
        sealed(app, &name),
        SideRow::KeyHash {
            prefix: name.clone(),
            key_id: name.clone(),
            hash: vec![1],
            role: "MEMBER",
            operator: false,
            expires_at: None,
        },
        SideRow::InvitationToken {
            token_hash: name.clone(),
            invitation_id: name,
            key_id: None,
            expires_at: Timestamp::UNIX_EPOCH,
        },
    ]
}

#[tokio::test]
async fn nothing_is_kept_after_an_erasure_of_which_a_node_has_not_heard() {
    let app = Started::new().await;
    for row in rows_that_outlive_the_data_key(&app) {
        beside(&app, row, context()).await.unwrap();
    }
    assert_eq!(kept(&app).await, 3);
    // No event tells this node, which believes for 30 s what it has read of the key.
    beside(&app, SideRow::Erase, system()).await.unwrap();
    let events = "select count(*) from events";
    let before: i64 = sqlx::query_scalar(events)
        .fetch_one(&app.owner)
        .await
        .unwrap();
    for context in [context(), system()] {
        for row in rows_that_outlive_the_data_key(&app) {
            let told = beside(&app, row, context.clone()).await;
            assert!(matches!(told, Err(CommandError::Erased)), "{told:?}");
        }
    }
    let after: i64 = sqlx::query_scalar(events)
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!((kept(&app).await, after), (0, before));
    app.stop().await;
}

#[tokio::test]
async fn what_is_being_written_while_a_workspace_is_erased_goes_with_it() {
    let app = Started::new().await;
    // The workspace has no data key yet: there is no row that both could meet at.
    let mut erasing = app.owner.begin().await.unwrap();
    for statement in [
        "select pg_advisory_xact_lock(hashtextextended('toolroom erase ' || $1, 0))",
        "insert into vault (workspace_id, kind, name, master_key_id, erased_at)
         values ($1, 'data-key', 'current', '', clock_timestamp())",
    ] {
        let statement = sqlx::query(statement).bind(OURS.to_string());
        statement.execute(&mut *erasing).await.unwrap();
    }
    let row = sealed(&app, "TOKEN");
    let waits = async {
        let waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted
                       and database = (select oid from pg_database where datname = current_database()))";
        loop {
            let is: bool = sqlx::query_scalar(waiting)
                .fetch_one(&app.owner)
                .await
                .unwrap();
            if is {
                break;
            }
        }
        erasing.commit().await.unwrap();
    };
    let both = async { tokio::join!(beside(&app, row, context()), waits).0 };
    let told = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(matches!(told, Err(CommandError::Erased)), "{told:?}");
    assert_eq!(kept(&app).await, 0);
    app.stop().await;
}

#[tokio::test]
async fn an_erasure_that_is_begun_again_takes_what_was_left() {
    let app = Started::new().await;
    let not_erased = erase::purge(&app.owner, OURS, |_| {}).await.unwrap();
    for row in rows_that_outlive_the_data_key(&app) {
        beside(&app, row, context()).await.unwrap();
    }
    assert_eq!((not_erased, kept(&app).await), (0, 3));
    // As a node of an earlier version could leave it.
    sqlx::query(
        "insert into vault (workspace_id, kind, name, master_key_id, erased_at)
         values ($1, 'data-key', 'current', '', clock_timestamp())",
    )
    .bind(OURS.to_string())
    .execute(&app.owner)
    .await
    .unwrap();
    let pool = app.log.database.committer_pool();
    let gone = erase::purge(pool, OURS, |_| {}).await.unwrap();
    assert!(gone >= 3, "{gone}");
    assert_eq!(kept(&app).await, 0);
    app.stop().await;
}
