//! Keys of a workspace.

use serde_json::{Value, json};

use super::{KEY, StandIn, WORKSPACE, ran, stand_in::Seen};
use crate::support::Operator;

const ID: &str = "key_00000000000000000000000000000001";

fn key(name: &str, revoked_at: Option<&str>) -> Value {
    json!({
        "id": ID,
        "name": name,
        "prefix": "111111111111",
        "role": "MEMBER",
        "operator": name == "old",
        "createdBy": "system:direct",
        "createdAt": "2026-11-21T08:00:00.123456Z",
        "expiresAt": "2027-01-31T00:00:00Z",
        "lastUsedAt": null,
        "revokedAt": revoked_at,
    })
}

fn answer(seen: &Seen) -> Value {
    match seen.operation.as_str() {
        "CreateApiKey" => json!({"createApiKey": {"secret": KEY, "apiKey": key("ci", None)}}),
        "RevokeApiKey" => json!({"revokeApiKey": key("ci", Some("2026-11-21T09:00:00Z"))}),
        // Two pages, with a name that would clear the terminal.
        "ApiKeys" => match seen.variables["after"].as_str() {
            None => json!({"apiKeys": {
                "nodes": [key("ci\u{1b}[2J", None)],
                "pageInfo": {"hasNextPage": true, "endCursor": "c1"},
            }}),
            Some(_) => json!({"apiKeys": {
                "nodes": [key("old", Some("2026-11-21T09:00:00Z"))],
                "pageInfo": {"hasNextPage": false, "endCursor": "c2"},
            }}),
        },
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_new_key_stands_alone_on_standard_output() {
    let operator = Operator::new();
    let server = StandIn::with_data(answer).await;
    let create = [
        "keys",
        "create",
        "ci",
        "--role",
        "member",
        "--expires",
        "2027-01-31",
        "--server",
        &server.url,
    ];
    let made = ran(&mut operator.client(&create)).await.succeeds();
    assert_eq!(made.out(), format!("{KEY}\n"));
    assert!(
        !made.words().contains(KEY) && made.words().contains(ID),
        "{made:?}"
    );
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        seen.variables,
        json!({"name": "ci", "role": "MEMBER", "expiresAt": "2027-01-31T00:00:00Z"})
    );

    let json = ran(operator.client(&create).arg("--json")).await.succeeds();
    let told: Value = serde_json::from_str(&json.out()).unwrap();
    assert_eq!(
        (&told["secret"], &told["apiKey"]),
        (&json!(KEY), &key("ci", None))
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_written_is_told_to_be_revoked() {
    let operator = Operator::new();
    let server = StandIn::with_data(answer).await;
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let create = [
        "keys",
        "create",
        "ci",
        "--role",
        "MEMBER",
        "--server",
        &server.url,
    ];
    let lost = ran(operator.client(&create).stdout(full)).await;
    assert_eq!(lost.code(), 1);
    let mend = format!("toolroom keys revoke {ID}");
    assert!(
        lost.words().contains(&mend) && !lost.words().contains(KEY),
        "{lost:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let operator = Operator::new();
    let server = StandIn::with_data(answer).await;
    for arguments in [
        &["create", "ci"][..],
        &["create", "ci", "--role", "KING"],
        &["create", "ci", "--role", "OWNER", "--expires", "soon"],
        &["create", "ci", "--role", "OWNER", "--expires", "2020-01-01"],
        &["revoke", "ws_00000000000000000000000000000007"],
        &["list", "--workspace", "mine"],
        &["list", "--server", "toolroom.example"],
    ] {
        let arguments = [&["keys"], arguments].concat();
        let mut command = operator.client(&arguments);
        let refused = ran(command.env("TOOLROOM_SERVER", &server.url)).await;
        assert!(refused.code() != 0, "{arguments:?}: {refused:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn keys_are_listed_to_the_last_page_and_revoked() {
    let operator = Operator::new();
    let server = StandIn::with_data(answer).await;
    let list = [
        "keys",
        "--server",
        &server.url,
        "list",
        "--workspace",
        WORKSPACE,
    ];
    let listed = ran(&mut operator.client(&list)).await.succeeds().out();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    let column = lines[0].find("PREFIX").unwrap();
    for line in &lines[1..] {
        let from: String = line.chars().skip(column).collect();
        assert!(from.starts_with("111111111111  MEMBER"), "{listed}");
    }
    let says = |line: &str| line.contains("MEMBER  yes");
    assert!(!says(lines[1]) && says(lines[2]), "{listed}");
    assert!(
        lines[1].contains("2026-11-21 08:00:00Z") && !listed.contains('\u{1b}'),
        "{listed}"
    );
    let seen = server.seen();
    assert_eq!(seen[1].variables["after"], "c1");
    assert!(
        seen.iter()
            .all(|seen| seen.workspace.as_deref() == Some(WORKSPACE))
    );

    let json = ran(operator.client(&list).arg("--json")).await.succeeds();
    let told: Vec<Value> = serde_json::from_str(&json.out()).unwrap();
    assert_eq!(told.len(), 2);

    let revoke = ["keys", "revoke", ID, "--server", &server.url];
    let revoked = ran(&mut operator.client(&revoke)).await.succeeds();
    assert!(
        revoked.out().is_empty() && revoked.words().contains("revoked the key ci"),
        "{revoked:?}"
    );
    assert_eq!(server.seen().pop().unwrap().variables, json!({"id": ID}));
}
