//! How the whole server meets the network.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{Answer, App, PATIENCE, binary};

/// A certificate for 127.0.0.1 and its key, in files; the settings that name them.
fn certificate(folder: &std::path::Path) -> ([(&'static str, String); 2], reqwest::Certificate) {
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (file, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&file, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = [
        ("TOOLROOM_TLS_CERTIFICATE", file.display().to_string()),
        ("TOOLROOM_TLS_KEY", key.display().to_string()),
    ];
    let root = reqwest::Certificate::from_pem(issued.cert.pem().as_bytes()).unwrap();
    (settings, root)
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    let pairs = settings.iter();
    pairs.map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_certificate_makes_it_https() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, root) = certificate(folder.path());
    let app = App::start_with(&borrowed(&settings)).await;
    assert!(app.url.starts_with("https://"), "{}", app.url);
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let request = http
        .post(format!("{}/graphql", app.url))
        .json(&json!({"query": "{ tools { totalCount } }"}));
    let answer = Answer::of(request).await;
    assert_eq!(answer.body["data"]["tools"]["totalCount"], 0);
    let stay = &answer.headers["strict-transport-security"];
    assert_eq!(stay, "max-age=31536000");
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut settings, _) = certificate(folder.path());
    let other = tempfile::tempdir().unwrap();
    settings[1] = certificate(other.path()).0[1].clone();
    let ended = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .envs(settings)
        .output();
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("cannot be used together"), "{told}");
    assert!(!folder.path().join("data").exists(), "nothing was begun");
}

#[tokio::test]
async fn every_page_may_not_be_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let ended = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .env("TOOLROOM_CORS_ORIGINS", "*")
        .output();
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("name the origins"), "{told}");
}

#[tokio::test]
async fn an_event_tells_the_client_that_a_trusted_proxy_names() {
    let app = App::start_with(&[("TOOLROOM_PROXIES_TRUSTED", "127.0.0.0/8")]).await;
    let register = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { name } }";
    let input = crate::support::native("say", "echo");
    let request = app
        .http
        .post(format!("{}/graphql", app.url))
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
        .json(&json!({"query": register, "variables": {"i": input}}));
    let answer = Answer::of(request).await;
    assert_eq!(answer.body["data"]["registerTool"]["name"], "say");
    let owner = app.owner().await;
    let addresses: Vec<Option<String>> = sqlx::query_scalar(
        "select distinct metadata ->> 'ip' from events where actor like 'user:%'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(addresses, [Some("192.0.2.7".to_owned())]);
}

#[tokio::test]
async fn a_browser_signs_in_over_https_and_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, root) = certificate(folder.path());
    let key = folder.path().join("first.key");
    let closed = [
        ("TOOLROOM_AUTH_REQUIRED", "true"),
        ("TOOLROOM_AUTH_FIRST_KEY_FILE", key.to_str().unwrap()),
    ];
    let app = App::start_with(&[&closed, &borrowed(&settings)[..]].concat()).await;
    let key = std::fs::read_to_string(key).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let url = |path: &str| format!("{}{path}", app.url);
    // The page itself asks for nothing.
    let page = Answer::of(http.get(url("/"))).await;
    assert_eq!(page.status, 200);
    assert_eq!(Answer::of(http.get(url("/session"))).await.status, 401);

    let made = Answer::of(http.post(url("/session")).bearer_auth(key.trim())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let cookie = made.headers["set-cookie"].to_str().unwrap();
    let (cookie, attributes) = cookie.split_once("; ").unwrap();
    assert!(cookie.starts_with("__Host-toolroom="), "{cookie}");
    assert_eq!(
        attributes,
        "Path=/; HttpOnly; SameSite=Strict; Max-Age=604800; Secure"
    );

    let register = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { name } }";
    let body =
        json!({"query": register, "variables": {"i": crate::support::native("say", "echo")}});
    let send = || {
        http.post(url("/graphql"))
            .header("cookie", cookie)
            .json(&body)
    };
    let without = Answer::of(send()).await;
    assert_eq!(without.status, 403, "{}", without.body);
    let token = made.body["csrfToken"].as_str().unwrap();
    let with = Answer::of(send().header("x-csrf-token", token)).await;
    assert_eq!(
        with.body["data"]["registerTool"]["name"], "say",
        "{}",
        with.body
    );

    let leave = http.delete(url("/session")).header("cookie", cookie);
    assert_eq!(
        Answer::of(leave.header("x-csrf-token", token)).await.status,
        204
    );
    let after = Answer::of(send().header("x-csrf-token", token)).await;
    assert_eq!(after.status, 401, "{}", after.body);
}
