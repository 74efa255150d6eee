//! What stands in the vault: values that are sealed beside events, and changes of the master key.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use sqlx::Row as _;
use toolroom_domain::{
    SecretId, WorkspaceId,
    secret::{self, Command, Secret},
};
use toolroom_eventlog::{
    CommandError, Executed,
    append::SideRow,
    command::Target,
    log::Options,
    testing::TestDatabase,
    vault::{KeyRing, MasterKey, Opened, RotationError, SECRET, Step},
};

use crate::support::{PATIENCE, Started, context, master_key};

const OURS: WorkspaceId = WorkspaceId::DEFAULT;
const AT: Timestamp = Timestamp::UNIX_EPOCH;

/// No loops, so that a test takes each step itself.
const BY_HAND: Options = Options {
    sequence: false,
    other_nodes: false,
};

fn other_key() -> MasterKey {
    MasterKey::from_base64("//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=").unwrap()
}

fn both() -> KeyRing {
    KeyRing::fixed(master_key(), Some(other_key()))
}

async fn send(
    app: &Started,
    name: &str,
    command: Command,
    side: SideRow,
) -> Result<Executed<Secret>, CommandError<secret::Error>> {
    let mut context = context();
    context.side = vec![side];
    let target = Target::Existing(SecretId::of(OURS, name).to_string());
    app.log.bus.execute(target, command, &context).await
}

fn sealed(app: &Started, name: &str, version: u32, value: &str) -> SideRow {
    let vault = &app.log.vault;
    vault
        .seal_row(OURS, SECRET, name, version, value.as_bytes())
        .unwrap()
}

async fn create(app: &Started, name: &str, value: &str) {
    let command = Command::Create {
        workspace: OURS,
        name: name.to_owned(),
        version: 1,
        at: AT,
    };
    send(app, name, command, sealed(app, name, 1, value))
        .await
        .unwrap();
}

async fn replace(app: &Started, name: &str, version: u32, value: &str) {
    let command = Command::Replace { version, at: AT };
    send(app, name, command, sealed(app, name, version, value))
        .await
        .unwrap();
}

async fn value(app: &Started, name: &str) -> Option<(u32, String)> {
    let row = app.log.vault.read_row(OURS, SECRET, name).await.unwrap();
    row.map(|(version, bytes)| (version, String::from_utf8(bytes.to_vec()).unwrap()))
}

fn is(version: u32, value: &str) -> Option<(u32, String)> {
    Some((version, value.to_owned()))
}

#[tokio::test]
async fn a_value_stands_beside_its_events_and_goes_with_them() {
    let app = Started::new().await;
    create(&app, "TOKEN", "first").await;
    assert_eq!(value(&app, "TOKEN").await, is(1, "first"));
    replace(&app, "TOKEN", 2, "second").await;
    assert_eq!(value(&app, "TOKEN").await, is(2, "second"));
    let rows: i64 = sqlx::query_scalar("select count(*) from vault where kind = 'secret'")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(rows, 1, "the one before is gone with its key");
    // A command that is refused writes nothing beside it either.
    let late = Command::Replace { version: 2, at: AT };
    let refused = send(&app, "TOKEN", late, sealed(&app, "TOKEN", 2, "late")).await;
    assert!(matches!(
        refused,
        Err(CommandError::Refused(secret::Error::Overtaken))
    ));
    assert_eq!(value(&app, "TOKEN").await, is(2, "second"));
    let erase = SideRow::VaultErase {
        kind: SECRET,
        name: "TOKEN".to_owned(),
    };
    send(&app, "TOKEN", Command::Delete { at: AT }, erase)
        .await
        .unwrap();
    assert_eq!(value(&app, "TOKEN").await, None);
    assert_eq!(
        app.log
            .vault
            .read_row(WorkspaceId::NONE, SECRET, "TOKEN")
            .await
            .unwrap(),
        None
    );
    app.stop().await;
}

#[tokio::test]
async fn a_row_opens_only_where_it_was_put() {
    let app = Started::new().await;
    create(&app, "A", "for a").await;
    create(&app, "B", "for b").await;
    let old = sqlx::query("select wrapped_key, data from vault where name = 'A'")
        .fetch_one(&app.owner)
        .await
        .unwrap();
    replace(&app, "A", 2, "newer").await;
    // As whoever writes the tables: the row of another name, of another workspace, of another kind,
    // and the one before.
    for (change, name, workspace, kind) in [
        (
            "update vault set (wrapped_key, data) = (select wrapped_key, data from vault where name = 'B') where name = 'A'",
            "A",
            OURS,
            SECRET,
        ),
        (
            "update vault set workspace_id = 'ws_ffffffffffffffffffffffffffffffff' where name = 'A'",
            "A",
            WorkspaceId::NONE,
            SECRET,
        ),
        (
            "update vault set kind = 'credentials', version = 2 where name = 'A'",
            "A",
            OURS,
            "credentials",
        ),
    ] {
        let mut tx = app.owner.begin().await.unwrap();
        let saved = sqlx::query(
            "select id, workspace_id, kind, wrapped_key, data from vault where name = 'A'",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        let changed = sqlx::query(change).execute(&mut *tx).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{change}");
        tx.commit().await.unwrap();
        let opened = app.log.vault.read_row(workspace, kind, name).await;
        assert!(opened.is_err(), "{change}: {opened:?}");
        sqlx::query("update vault set workspace_id = $2, kind = $3, wrapped_key = $4, data = $5 where id = $1")
            .bind(saved.get::<i64, _>("id"))
            .bind(saved.get::<String, _>("workspace_id"))
            .bind(saved.get::<String, _>("kind"))
            .bind(saved.get::<Vec<u8>, _>("wrapped_key"))
            .bind(saved.get::<Vec<u8>, _>("data"))
            .execute(&app.owner)
            .await
            .unwrap();
    }
    assert_eq!(value(&app, "A").await, is(2, "newer"));
    sqlx::query("update vault set wrapped_key = $1, data = $2 where name = 'A'")
        .bind(old.get::<Vec<u8>, _>("wrapped_key"))
        .bind(old.get::<Vec<u8>, _>("data"))
        .execute(&app.owner)
        .await
        .unwrap();
    assert!(app.log.vault.read_row(OURS, SECRET, "A").await.is_err());
    app.stop().await;
}

#[tokio::test]
async fn a_change_on_one_node_is_heard_of_on_the_others() {
    let database = TestDatabase::create().await;
    let here = Started::on(database.connect_options(), Options::default()).await;
    let there = Started::on(database.connect_options(), Options::default()).await;
    let cached = async |app: &Started| {
        let row = app
            .log
            .vault
            .cached_row(OURS, SECRET, "TOKEN")
            .await
            .unwrap();
        row.map(|row| row.version)
    };
    create(&here, "TOKEN", "first").await;
    there.reaches(1).await;
    assert_eq!(
        (cached(&here).await, cached(&there).await),
        (Some(1), Some(1))
    );
    replace(&here, "TOKEN", 2, "second").await;
    here.log.vault.forget_rows_of(OURS);
    assert_eq!(cached(&here).await, Some(2), "at once where it was changed");
    // What another node has in memory is gone when it has heard of the change.
    let heard = async {
        while cached(&there).await != Some(2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("the other node hears of it");
    here.stop().await;
    there.stop().await;
}

/// Lets the rotation end though it is young.
async fn ages(app: &Started) {
    sqlx::query("update master_key_rotations set started_at = started_at - interval '1 hour'")
        .execute(&app.owner)
        .await
        .unwrap();
}

async fn to_its_end(app: &Started) {
    let mut broken = Vec::new();
    ages(app).await;
    while app.log.vault.rotate_step(&mut broken).await.unwrap() != Step::Idle {}
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test]
async fn a_rotation_that_is_killed_goes_on_elsewhere_and_the_old_key_opens_nothing_then() {
    let database = TestDatabase::create().await;
    let first = Started::knowing(database.connect_options(), BY_HAND, both()).await;
    for i in 0..450 {
        create(&first, &format!("S{i}"), &format!("value {i}")).await;
    }
    let input = first
        .log
        .vault
        .seal(OURS, "input", &json!("job"))
        .await
        .unwrap();
    let begun = first.log.vault.begin_rotation(None).await.unwrap();
    // 450 secrets, the workspace's key and the server's for digests.
    assert_eq!((begun.total, begun.done, begun.finished_at), (452, 0, None));
    let again = first.log.vault.begin_rotation(None).await.unwrap();
    assert_eq!(again.id, begun.id, "asked twice, one goes on");
    assert_eq!(
        first.log.vault.rotate_step(&mut Vec::new()).await.unwrap(),
        Step::Went
    );
    create(&first, "MEANWHILE", "new").await;
    // Killed: a later node starts with both keys, as they lie there.
    first.stop().await;
    let second = Started::knowing(database.connect_options(), BY_HAND, both()).await;
    let rotation = second.log.vault.rotation().await.unwrap().unwrap();
    assert_eq!((rotation.total, rotation.done), (452, 200));
    for name in ["S0", "S449", "MEANWHILE"] {
        assert!(
            value(&second, name).await.is_some(),
            "{name} opens in the middle"
        );
    }
    to_its_end(&second).await;
    let ended = second.log.vault.rotation().await.unwrap().unwrap();
    assert_eq!((ended.total, ended.done), (452, 452));
    assert!(ended.finished_at.is_some());
    let keys: Vec<String> = sqlx::query_scalar(
        "select distinct master_key_id from vault where wrapped_key is not null",
    )
    .fetch_all(&second.owner)
    .await
    .unwrap();
    assert_eq!(keys, [other_key().id()]);
    for i in 0..450 {
        assert_eq!(
            value(&second, &format!("S{i}")).await,
            is(1, &format!("value {i}"))
        );
    }
    let opened = second.log.vault.open(OURS, "input", &input).await.unwrap();
    assert_eq!(opened, Opened::Value(json!("job")));
    second.stop().await;
    // Whichever of both a node then begins with, it needs the new one and no more.
    for keys in [
        other_key().into(),
        KeyRing::fixed(other_key(), Some(master_key())),
        both(),
    ] {
        let app = Started::knowing(database.connect_options(), BY_HAND, keys).await;
        assert_eq!(value(&app, "S7").await, is(1, "value 7"));
        create(&app, &format!("AFTER_{}", uuid()), "later").await;
        app.stop().await;
    }
    let log = toolroom_eventlog::Database::connect_lazy(database.connect_options());
    let shutdown = tokio_util::sync::CancellationToken::new();
    let refused = toolroom_eventlog::EventLog::start(log, master_key(), BY_HAND, &shutdown).await;
    let told = refused
        .err()
        .expect("the old key opens nothing")
        .to_string();
    assert!(
        told.contains(other_key().id()) && told.contains(master_key().id()),
        "{told}"
    );
}

fn uuid() -> String {
    toolroom_eventlog::ids::new_uuid().simple().to_string()
}

#[tokio::test]
async fn a_node_that_did_not_hear_of_the_end_cannot_write_with_the_old_key() {
    let database = TestDatabase::create().await;
    let late = Started::knowing(database.connect_options(), BY_HAND, both()).await;
    let app = Started::knowing(database.connect_options(), BY_HAND, both()).await;
    create(&app, "TOKEN", "first").await;
    let sealed_before = sealed(&late, "TOKEN", 2, "by the old key");
    app.log.vault.begin_rotation(None).await.unwrap();
    to_its_end(&app).await;
    let command = Command::Replace { version: 2, at: AT };
    let refused = send(&late, "TOKEN", command, sealed_before).await;
    assert!(
        matches!(refused, Err(CommandError::Contended)),
        "{refused:?}"
    );
    assert_eq!(value(&app, "TOKEN").await, is(1, "first"));
    late.log.vault.look().await.unwrap();
    replace(&late, "TOKEN", 2, "by the new key").await;
    assert_eq!(value(&app, "TOKEN").await, is(2, "by the new key"));
    late.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_rotation_needs_another_key_and_says_so() {
    let app = Started::new().await;
    let error = app.log.vault.begin_rotation(None).await.unwrap_err();
    assert!(matches!(error, RotationError::NoKey(_)), "{error}");
    app.stop().await;
    let same = KeyRing::fixed(master_key(), Some(master_key()));
    let database = TestDatabase::create().await;
    let app = Started::knowing(database.connect_options(), BY_HAND, same).await;
    let error = app.log.vault.begin_rotation(None).await.unwrap_err();
    assert!(matches!(error, RotationError::SameKey), "{error}");
    assert_eq!(app.log.vault.rotation().await.unwrap(), None);
    app.stop().await;
}

#[tokio::test]
async fn a_row_that_does_not_open_keeps_a_rotation_from_its_end_and_is_told() {
    let database = TestDatabase::create().await;
    let app = Started::knowing(database.connect_options(), BY_HAND, both()).await;
    create(&app, "GOOD", "value").await;
    create(&app, "BROKEN", "value").await;
    sqlx::query("update vault set wrapped_key = '\\x00' where name = 'BROKEN'")
        .execute(&app.owner)
        .await
        .unwrap();
    app.log.vault.begin_rotation(None).await.unwrap();
    ages(&app).await;
    let mut broken = Vec::new();
    while app.log.vault.rotate_step(&mut broken).await.unwrap() != Step::Waits {}
    assert_eq!(broken.len(), 1);
    let rotation = app.log.vault.rotation().await.unwrap().unwrap();
    assert_eq!(rotation.finished_at, None);
    let problem = rotation.problem.expect("it says what is wrong");
    assert!(problem.contains(&format!("id {}", broken[0])), "{problem}");
    assert_eq!(value(&app, "GOOD").await, is(1, "value"));
    sqlx::query("delete from vault where name = 'BROKEN'")
        .execute(&app.owner)
        .await
        .unwrap();
    to_its_end(&app).await;
    let rotation = app.log.vault.rotation().await.unwrap().unwrap();
    assert!(rotation.finished_at.is_some() && rotation.problem.is_none());
    app.stop().await;
}

#[tokio::test]
async fn two_nodes_rotate_as_one() {
    let database = TestDatabase::create().await;
    let nodes = [
        Arc::new(Started::knowing(database.connect_options(), BY_HAND, both()).await),
        Arc::new(Started::knowing(database.connect_options(), BY_HAND, both()).await),
    ];
    for i in 0..250 {
        create(&nodes[0], &format!("S{i}"), "value").await;
    }
    let begun = nodes[0].log.vault.begin_rotation(None).await.unwrap();
    ages(&nodes[0]).await;
    let work = nodes.clone().map(|node| {
        tokio::spawn(async move {
            let mut broken = Vec::new();
            loop {
                match node.log.vault.rotate_step(&mut broken).await.unwrap() {
                    Step::Idle => return broken.len(),
                    Step::Went | Step::Waits => tokio::task::yield_now().await,
                }
            }
        })
    });
    for node in work {
        assert_eq!(
            tokio::time::timeout(PATIENCE, node).await.unwrap().unwrap(),
            0
        );
    }
    let ended = nodes[1].log.vault.rotation().await.unwrap().unwrap();
    assert_eq!((ended.done, ended.total), (begun.total, begun.total));
    assert_eq!(value(&nodes[1], "S249").await, is(1, "value"));
    for node in nodes {
        Arc::into_inner(node)
            .expect("nobody else has it")
            .stop()
            .await;
    }
}
