//! Backups: all primary data in one file, and back.

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{
    backup::{self, Error, PRIMARY_TABLES},
    log::Options,
    testing::TestDatabase,
    vault::Opened,
};

use crate::support::{Started, named, register};

/// Tables that are derived from the log or belong to the machinery.
const NOT_PRIMARY: [&str; 5] = [
    "_sqlx_migrations",
    "checkpoints",
    "dead_letters",
    "read_models",
    // Whoever takes a backup into another database signs in anew.
    "sessions",
];

async fn backup_of(app: &Started) -> Vec<u8> {
    let mut connection = app.log.database.owner_options().connect().await.unwrap();
    let mut file = Vec::new();
    backup::write(&mut connection, &mut file).await.unwrap();
    connection.close().await.unwrap();
    file
}

async fn restored(file: &[u8]) -> Result<(TestDatabase, backup::Report), Error> {
    let database = TestDatabase::create().await;
    let owner = database.pool().await;
    let report = backup::restore(&owner, &mut &file[..], |_| {}).await;
    owner.close().await;
    Ok((database, report?))
}

#[tokio::test]
async fn every_primary_table_is_in_a_backup() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by relname",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    pool.close().await;
    let mut known = [&PRIMARY_TABLES[..], &NOT_PRIMARY[..]].concat();
    known.sort_unstable();
    assert_eq!(
        tables, known,
        "a new table is primary or it is not: say so here"
    );
}

#[tokio::test]
async fn a_restored_log_goes_on_with_its_chain_names_commands_and_keys() {
    let app = Started::new().await;
    for i in 0..5 {
        app.register(&format!("tool{i}")).await.unwrap();
    }
    register(&app.log, "named", named("once", "x"))
        .await
        .unwrap();
    let sealed = app
        .log
        .vault
        .seal(WorkspaceId::DEFAULT, "here", &json!("tab\tand \\ and \n"))
        .await
        .unwrap();
    app.reaches(6).await;
    let head = app.log.feed.head().await.unwrap();
    let file = backup_of(&app).await;
    // What comes after the backup is lost with the machine.
    app.register("lost").await.unwrap();
    app.stop().await;

    let (database, report) = restored(&file).await.unwrap();
    assert_eq!((report.position, report.events), (6, 6));
    let app = Started::on(database.connect_options(), Options::default()).await;
    let again = app.log.feed.head().await.unwrap();
    assert_eq!((again.position, &again.hash), (6, &head.hash));
    assert!(
        again.epoch > head.epoch,
        "a position of the lost tail must be known as stale"
    );
    assert!(
        app.register("tool3").await.is_err(),
        "the name is still taken"
    );
    let repeated = register(&app.log, "named", named("once", "x"))
        .await
        .unwrap();
    assert!(repeated.repeated);
    let opened = app
        .log
        .vault
        .open(WorkspaceId::DEFAULT, "here", &sealed)
        .await
        .unwrap();
    assert_eq!(opened, Opened::Value(json!("tab\tand \\ and \n")));
    app.register("new").await.unwrap();
    app.reaches(7).await;
    app.stop().await;
}

#[tokio::test]
async fn a_backup_that_was_cut_or_changed_leaves_the_database_empty() {
    let app = Started::new().await;
    app.register("tool").await.unwrap();
    app.reaches(1).await;
    let file = backup_of(&app).await;
    app.stop().await;

    let database = TestDatabase::create().await;
    let owner = database.pool().await;
    let changed = String::from_utf8(file.clone())
        .unwrap()
        .replace("says what", "says that");
    let longer = [&file[..], b"x"].concat();
    for bad in [
        &file[..file.len() / 2],
        &file[..file.len() - 1],
        changed.as_bytes(),
        &longer,
        b"",
    ] {
        let refused = backup::restore(&owner, &mut &bad[..], |_| {}).await;
        assert!(matches!(refused, Err(Error::Broken(_))), "{refused:?}");
    }
    // A refused file was no obstacle to the whole one, and that is one to any other.
    backup::restore(&owner, &mut &file[..], |_| {})
        .await
        .unwrap();
    let twice = backup::restore(&owner, &mut &file[..], |_| {}).await;
    assert!(matches!(twice, Err(Error::NotEmpty { .. })), "{twice:?}");
    owner.close().await;
}

#[tokio::test]
async fn a_backup_of_a_forged_log_is_restored_but_called_unsound() {
    let app = Started::new().await;
    app.register("tool").await.unwrap();
    app.reaches(1).await;
    let mut tx = app.owner.begin().await.unwrap();
    for statement in [
        "set local session_replication_role = replica",
        "update events set payload = replace(payload::text, 'tool', 'fool')::json",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let file = backup_of(&app).await;
    app.stop().await;
    let outcome = restored(&file).await.map(|(_, report)| report);
    assert!(matches!(outcome, Err(Error::NotSound(_))), "{outcome:?}");
}
