//! Against a real server that asks everybody for a credential.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{KEY, fed, ran};
use crate::support::{Operator, Ran, Serving};

/// An operator whose server wants credentials, and writes its first key to a file.
fn strict() -> Operator {
    let operator = Operator::new();
    let config = "[auth]\nrequired = true\nfirst_key_file = \"first.key\"\n";
    std::fs::write(operator.path("toolroom.toml"), config).unwrap();
    operator
}

/// As whom a key is known.
async fn known_as(operator: &Operator, server: &Serving, key: &str) -> String {
    let url = server.url();
    let mut whoami = operator.client(&["whoami", "--json", "--server", &url]);
    let known = ran(whoami.env("TOOLROOM_API_KEY", key)).await.succeeds();
    told(&known)["id"].as_str().unwrap().to_owned()
}

/// The code with which a query is refused; none if it is answered.
#[allow(
    clippy::disallowed_methods,
    reason = "a test calls its own server, not what tools name"
)]
async fn refused(server: &Serving, key: &str, query: &str) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/graphql", server.url()));
    let sent = request
        .bearer_auth(key)
        .json(&json!({"query": query}))
        .send()
        .await;
    let answer: Value = sent
        .expect("the server answers")
        .json()
        .await
        .expect("in JSON");
    let code = answer.pointer("/errors/0/extensions/code")?;
    Some(code.as_str().expect("a text").to_owned())
}

/// Gives the operator's server a certificate that only who has it trusts; says where it is.
fn certify(operator: &Operator) -> PathBuf {
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (operator.path("certificate.pem"), operator.path("key.pem"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = "[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";
    let file = operator.path("toolroom.toml");
    let strict = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, strict + settings).unwrap();
    certificate
}

fn told(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test]
async fn the_first_key_opens_the_server_that_nobody_else_gets_into() {
    let operator = strict();
    let server = operator.serve().await;
    let url = server.url();
    let stranger = ran(&mut operator.client(&["whoami", "--server", &url])).await;
    assert!(
        stranger.code() == 1
            && stranger
                .words()
                .contains(&format!("toolroom login --server {url}")),
        "{stranger:?}"
    );
    let forged = operator.client(&["login", "--server", &url, "--key-file", "-"]);
    let forged = fed(forged, KEY).await;
    assert!(
        forged.code() == 1 && forged.words().contains("UNAUTHENTICATED"),
        "{forged:?}"
    );

    let login = ["login", "--server", &url, "--key-file", "first.key"];
    ran(&mut operator.client(&login)).await.succeeds();
    let known = ran(&mut operator.client(&["whoami", "--json"]))
        .await
        .succeeds();
    let viewer = told(&known);
    assert_eq!(viewer["authenticatedBy"], "api_key");
    assert_eq!(viewer["role"], "OWNER");
    assert_eq!(viewer["workspace"]["name"], "default");
    server.stop().await;

    // Whoever moves the file elsewhere finds no other in its place, with a key that opens nothing.
    std::fs::remove_file(operator.path("first.key")).unwrap();
    operator.serve().await.stop().await;
    assert!(!operator.path("first.key").exists());
}

#[tokio::test]
async fn over_tls_the_server_shows_who_it_is_before_it_sees_the_key() {
    let operator = strict();
    let certificate = certify(&operator);
    let server = operator.serve().await;
    let url = server.url();
    let login = ["login", "--server", &url, "--key-file", "first.key"];
    let stranger = ran(&mut operator.client(&login)).await;
    assert_eq!(stranger.code(), 1);
    let words = stranger.words();
    assert!(
        words.contains("UnknownIssuer") && words.contains("SSL_CERT_FILE"),
        "{words}"
    );
    assert_eq!(words.lines().count(), 1, "it is told once: {words}");

    let mut login = operator.client(&login);
    ran(login.env("SSL_CERT_FILE", &certificate))
        .await
        .succeeds();
    let mut whoami = operator.client(&["whoami", "--json"]);
    let known = ran(whoami.env("SSL_CERT_FILE", &certificate))
        .await
        .succeeds();
    assert_eq!(told(&known)["authenticatedBy"], "api_key");

    let plain = url.replace("https://", "http://");
    let plain = ran(&mut operator.client(&["whoami", "--server", &plain])).await;
    assert!(plain.words().contains("named with https://"), "{plain:?}");
    server.stop().await;
}

#[tokio::test]
async fn who_lost_all_keys_makes_one_on_the_database() {
    let operator = strict();
    let direct = |arguments: &[&'static str]| {
        let all = [&["keys", "create", "rescue", "--direct"], arguments].concat();
        operator.client(&all)
    };
    let nothing_yet = ran(&mut direct(&["--role", "OWNER"])).await;
    assert!(
        nothing_yet.words().contains("holds no data"),
        "{nothing_yet:?}"
    );

    let server = operator.serve().await;
    // Beside the running server.
    let made = ran(&mut direct(&["--role", "viewer", "--expires", "1d"]))
        .await
        .succeeds();
    assert!(made.words().contains("VIEWER, which ends"), "{made:?}");
    let viewer = made.out().trim().to_owned();
    assert!(
        known_as(&operator, &server, &viewer)
            .await
            .starts_with("key:key_")
    );
    assert_eq!(
        refused(&server, &viewer, "{ tools { totalCount } }").await,
        None
    );
    let end = r#"mutation { deleteTool(id: "1") { id } }"#;
    assert_eq!(
        refused(&server, &viewer, end).await.as_deref(),
        Some("FORBIDDEN")
    );
    server.stop().await;

    // And without one.
    let made = ran(&mut direct(&["--role", "OWNER", "--operator", "--json"]))
        .await
        .succeeds();
    let created = told(&made);
    assert_eq!(created["apiKey"]["operator"], true);
    assert_eq!(created["apiKey"]["createdBy"], "system:direct");
    let id = created["apiKey"]["id"].as_str().unwrap();
    let key = created["secret"].as_str().unwrap();
    let server = operator.serve().await;
    assert_eq!(known_as(&operator, &server, key).await, format!("key:{id}"));
    let of_operators = "{ projections { name } }";
    assert_eq!(refused(&server, key, of_operators).await, None);
    assert_eq!(
        refused(&server, &viewer, of_operators).await.as_deref(),
        Some("FORBIDDEN")
    );

    for contradiction in [
        ["--role", "OWNER", "--insecure"],
        ["--role", "KING", "--json"],
    ] {
        assert_ne!(ran(&mut direct(&contradiction)).await.code(), 0);
    }
    let operator_elsewhere = ["keys", "create", "x", "--role", "OWNER", "--operator"];
    assert_eq!(
        ran(&mut operator.client(&operator_elsewhere)).await.code(),
        2
    );
    operator.run(&["verify"]).await.succeeds();
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked_from_the_command_line() {
    let operator = strict();
    let server = operator.serve().await;
    let url = server.url();
    let login = ["login", "--server", &url, "--key-file", "first.key"];
    ran(&mut operator.client(&login)).await.succeeds();

    let create = ["keys", "create", "ci", "--role", "MEMBER"];
    let made = ran(&mut operator.client(&create)).await.succeeds();
    let key = made.out().trim().to_owned();
    assert_eq!(made.out().lines().count(), 1, "the key alone: {made:?}");
    let id = known_as(&operator, &server, &key).await;
    let id = id.strip_prefix("key:").expect("a key").to_owned();

    let listed = ran(&mut operator.client(&["keys", "list"]))
        .await
        .succeeds();
    assert!(
        listed.out().contains(&id) && listed.out().contains("ci"),
        "{listed:?}"
    );
    assert!(!listed.out().contains(&key), "{listed:?}");

    let revoke = ["keys", "revoke", &id];
    ran(&mut operator.client(&revoke)).await.succeeds();
    let query = "{ tools { totalCount } }";
    assert_eq!(
        refused(&server, &key, query).await.as_deref(),
        Some("UNAUTHENTICATED")
    );

    let workspaces = ran(&mut operator.client(&["workspaces", "list"])).await;
    assert!(workspaces.succeeds().out().contains("default"));
    ran(&mut operator.client(&["logout", "--server", &url]))
        .await
        .succeeds();
    let forgotten = ran(&mut operator.client(&["whoami", "--server", &url])).await;
    assert_eq!(forgotten.code(), 1, "{forgotten:?}");
    server.stop().await;
}
