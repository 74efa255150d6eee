//! Commands beside a running server, and without one.

use serde_json::{Value, json};
use toolroom_domain::WorkspaceId;
use uuid::Uuid;

use crate::support::Operator;

fn other() -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(9))
}

/// A data folder with four events: a tool, another workspace's tool, a job, a tool.
async fn five_events(operator: &Operator) {
    let server = operator.serve().await;
    let log = operator.log().await;
    let tool = log.register("mine", WorkspaceId::DEFAULT).await;
    log.register("theirs", other()).await;
    log.request(tool, json!({"text": "a private word"})).await;
    log.register("mine-too", WorkspaceId::DEFAULT).await;
    log.reaches(5).await;
    log.close().await;
    server.stop().await;
}

async fn replayed(operator: &Operator, arguments: &[&str]) -> Vec<Value> {
    let ran = operator
        .run(&[&["replay"], arguments].concat())
        .await
        .succeeds();
    let lines = ran.out();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn positions(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["position"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_replay_that_finds_nothing_says_so_beside_its_empty_output() {
    let operator = Operator::new();
    five_events(&operator).await;
    for nothing in [["--type", "ToolRegistred"], ["--aggregate", "tol"]] {
        let ran = operator.run(&[&["replay"], &nothing[..]].concat()).await;
        let ran = ran.succeeds();
        assert_eq!(ran.out(), "");
        assert!(ran.words().contains("no event matches"), "{}", ran.words());
    }
}

#[tokio::test]
async fn the_past_is_played_back_filtered_and_opened() {
    let operator = Operator::new();
    five_events(&operator).await;
    let all = replayed(&operator, &[]).await;
    assert_eq!(positions(&all), ["1", "2", "3", "4", "5"]);
    assert_eq!(
        all[3]["payload"]["input"],
        json!({"text": "a private word"})
    );
    assert_eq!(
        positions(&replayed(&operator, &["--from", "3", "--to", "4"]).await),
        ["3", "4"]
    );
    assert_eq!(
        positions(&replayed(&operator, &["--type", "JobRequested"]).await),
        ["4"]
    );
    assert_eq!(
        positions(&replayed(&operator, &["--workspace", &other().to_string()]).await),
        ["3"]
    );
    let fourth = all[3]["loggedAt"].as_str().unwrap();
    assert_eq!(
        positions(&replayed(&operator, &["--from", fourth]).await),
        ["4", "5"]
    );
    assert_eq!(
        positions(&replayed(&operator, &["--to", fourth]).await),
        ["1", "2", "3", "4"]
    );
    let id = all[4]["aggregateId"].as_str().unwrap();
    assert_eq!(
        positions(&replayed(&operator, &["--aggregate", id]).await),
        ["5"]
    );

    std::fs::remove_file(operator.path("toolroom-data/master.key")).unwrap();
    let refused = operator.run(&["replay"]).await;
    assert!(
        refused.code() == 1 && refused.words().contains("master key"),
        "{refused:?}"
    );
    let sealed = replayed(&operator, &["--sealed", "--from", "4", "--to", "4"]).await;
    assert!(!sealed[0].to_string().contains("private"), "{sealed:?}");
}

#[tokio::test]
async fn an_export_is_proven_without_a_database() {
    let operator = Operator::new();
    five_events(&operator).await;
    let workspace = WorkspaceId::DEFAULT.to_string();
    operator
        .run(&["export", "--workspace", &workspace, "-o", "log.jsonl"])
        .await
        .succeeds();
    let head = operator.run(&["verify"]).await.succeeds().out();
    let head = head.trim().rsplit_once(' ').unwrap().1.to_owned();

    std::fs::rename(operator.path("toolroom-data"), operator.path("away")).unwrap();
    let proven = operator
        .run(&["verify", "log.jsonl", "--expect", &head])
        .await
        .succeeds();
    assert!(
        proven
            .out()
            .contains("4 events, 1 digests and 0 large values"),
        "{proven:?}"
    );
    let file = operator.path("log.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("theirs"));
    std::fs::write(&file, text.replace("mine-too", "mine-two")).unwrap();
    let forged = operator.run(&["verify", "log.jsonl"]).await;
    assert!(
        forged.code() == 1 && forged.words().contains("line 7"),
        "{forged:?}"
    );
    assert_eq!(operator.run(&["verify", "nowhere"]).await.code(), 2);
    assert_eq!(operator.run(&["verify"]).await.code(), 2);
}

async fn head_of(operator: &Operator) -> String {
    let told = operator.run(&["verify"]).await.succeeds().out();
    told.trim().rsplit_once(' ').unwrap().1.to_owned()
}

/// After a restore: heads of `before` it hold, as what it `lost` does not, and the new one is told as
/// the API tells the position of the `last` event.
async fn heads_are_told_and_taken(operator: &Operator, last: &Value, before: &str, lost: &str) {
    let expect = async |head: &str| operator.run(&["verify", "--expect", head]).await;
    let position = last["position"].as_str().unwrap();
    let hash = last["hash"].as_str().unwrap();
    let head = head_of(operator).await;
    assert_eq!(head, format!("{position}:{hash}"));
    assert_eq!(before, format!("5:{hash}"));
    let current = expect(&head).await.succeeds();
    assert!(!current.words().contains("epoch"), "{current:?}");
    let older = expect(before).await.succeeds();
    assert!(older.words().contains("is of log epoch 0"), "{older:?}");
    let gone = expect(lost).await;
    assert_eq!(gone.code(), 1);
    assert!(
        gone.words().contains("is of log epoch 0") && gone.words().contains("is lost"),
        "{gone:?}"
    );
    let later = expect(&format!("2{}:{hash}", &position[1..])).await;
    assert_eq!(later.code(), 1);
    assert!(later.words().contains("log epoch 2"), "{later:?}");
}

#[tokio::test]
async fn a_backup_beside_a_running_server_comes_back_elsewhere() {
    let operator = Operator::new();
    five_events(&operator).await;
    let server = operator.serve().await;
    operator.run(&["backup", "backup"]).await.succeeds();
    let again = operator.run(&["backup", "backup"]).await;
    assert!(
        again.code() == 1 && again.words().contains("is there already"),
        "{again:?}"
    );
    let before = head_of(&operator).await;
    let log = operator.log().await;
    log.register("too-late", WorkspaceId::DEFAULT).await;
    log.reaches(6).await;
    log.close().await;
    let lost = head_of(&operator).await;
    server.stop().await;
    let whole = std::fs::read_to_string(operator.path("backup")).unwrap();
    assert!(!whole.contains("a private word"), "inputs stay encrypted");

    let restored = operator
        .run(&["restore", "backup", "--data-dir", "new"])
        .await
        .succeeds();
    assert!(
        restored.words().contains("put the master key back"),
        "{restored:?}"
    );
    let twice = operator
        .run(&["restore", "backup", "--data-dir", "new"])
        .await;
    assert!(
        twice.code() == 1 && twice.words().contains("is not empty"),
        "{twice:?}"
    );
    let old = operator.path("toolroom-data");
    std::fs::rename(old.join("master.key"), operator.path("new/master.key")).unwrap();
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::rename(operator.path("new"), &old).unwrap();
    let events = replayed(&operator, &[]).await;
    assert_eq!(events.len(), 5);
    assert_eq!(
        events[3]["payload"]["input"],
        json!({"text": "a private word"})
    );
    assert_ne!(events[0]["position"], "1", "positions are of the new epoch");
    heads_are_told_and_taken(&operator, &events[4], &before, &lost).await;
    operator.run(&["doctor"]).await.succeeds();

    std::fs::write(operator.path("cut"), &whole[..whole.len() / 2]).unwrap();
    let cut = operator
        .run(&["restore", "cut", "--data-dir", "other"])
        .await;
    assert!(
        cut.code() == 1 && cut.words().contains("not a whole backup"),
        "{cut:?}"
    );
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_and_says_how_to_mend_it() {
    let operator = Operator::new();
    operator.run(&["doctor"]).await.succeeds();
    five_events(&operator).await;
    operator.run(&["doctor"]).await.succeeds();
    let server = operator.serve().await;
    let log = operator.log().await;
    let owner = log.log.database.owner_pool().await.unwrap();
    for statement in [
        "alter table events disable trigger events_append_only",
        "grant update on events to toolroom_committer",
        "update sequencer_state set system_identifier = 1",
        "insert into dead_letters (follower, position, aggregate_type, aggregate_id, workspace_id, error)
             select 'catalog', 1, 'tool', 'x', 'x', 'cannot be applied'",
        "insert into checkpoints (follower, position) values ('catalog', 0) on conflict do nothing",
    ] {
        sqlx::query(statement).execute(&owner).await.unwrap();
    }
    owner.close().await;
    log.close().await;
    let key = operator.path("toolroom-data/master.key");
    std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let found = operator.run(&["doctor"]).await;
    assert_eq!(found.code(), 1);
    for fault in [
        "append-only are off",
        "may change the log",
        "comes from another cluster",
        "catalog could not apply 1 events",
        "does not open with this master key",
    ] {
        assert!(found.out().contains(fault), "{fault}: {found:?}");
    }
    assert_eq!(
        found.out().matches("mend:").count(),
        found.out().matches("FAULT").count()
    );
    server.stop().await;
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_origins_and_without_its_secrets() {
    let operator = Operator::new();
    std::fs::write(operator.path("toolroom.toml"), "[worker]\nbackground = 3\n").unwrap();
    let shown = operator
        .command(&["config", "print", "--data-dir", "elsewhere"])
        .env("DATABASE_URL", "postgres://u:hunter2@host/db")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "worker.background = 3 # toolroom.toml",
        "data_dir = \"elsewhere\" # --data-dir",
        "database_url = \"********\" # the variable DATABASE_URL",
        "worker.foreground = 2048 # default",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("hunter2"));
    // What is printed is itself a configuration.
    let kept: String = text
        .lines()
        .filter(|l| !l.contains("****"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(operator.path("toolroom.toml"), kept).unwrap();
    operator.run(&["config", "print"]).await.succeeds();
}

#[tokio::test]
async fn a_read_model_is_rebuilt_beside_a_running_server_and_without_one() {
    let operator = Operator::new();
    five_events(&operator).await;
    let rows = async || {
        let log = operator.log().await;
        let catalog = "select count(*) from projections.tools";
        let rows: i64 = sqlx::query_scalar(catalog)
            .fetch_one(log.log.database.projector_pool())
            .await
            .unwrap();
        log.close().await;
        rows
    };
    operator.run(&["rebuild", "all"]).await.succeeds();
    let server = operator.serve().await;
    operator.run(&["rebuild", "catalog"]).await.succeeds();
    assert_eq!(rows().await, 3);
    server.stop().await;
    let unknown = operator.run(&["rebuild", "nothing"]).await;
    assert!(
        unknown.code() == 1 && unknown.words().contains("catalog"),
        "{unknown:?}"
    );
}
