//! Logging in and out, and which server and key are meant.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{KEY, StandIn, TOKEN, WORKSPACE, fed, log_in, ran, viewer};
use crate::support::Operator;

fn kept(operator: &Operator) -> String {
    std::fs::read_to_string(operator.path("config/toolroom/credentials.toml")).unwrap_or_default()
}

#[tokio::test]
async fn who_logs_in_is_known_from_then_on_until_they_log_out() {
    let operator = Operator::new();
    let server = StandIn::with_data(|_| viewer(WORKSPACE)).await;
    let login = log_in(&operator, &server).await;
    assert_eq!(login.out(), "");
    assert!(
        login.words().contains("OWNER of the workspace Acme"),
        "{login:?}"
    );
    assert!(!login.words().contains(KEY), "{login:?}");
    let file = operator.path("config/toolroom/credentials.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let whoami = ran(&mut operator.client(&["whoami", "--json"]))
        .await
        .succeeds();
    let told: Value = serde_json::from_str(&whoami.out()).unwrap();
    assert_eq!(told, viewer(WORKSPACE)["viewer"]);
    let whoami = ran(&mut operator.client(&["whoami"])).await.succeeds();
    for line in [
        format!("server     {}", server.url),
        "who        key:key_1".to_owned(),
        "email      –".to_owned(),
        format!("workspace  Acme ({WORKSPACE})"),
        "plan       PRO".to_owned(),
    ] {
        assert!(whoami.out().contains(&line), "{line}: {whoami:?}");
    }
    let bearer = Some(format!("Bearer {KEY}"));
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.authorization == bearer)
    );

    // A place where no server runs: nothing is asked of it.
    let out = ["logout", "--server", &server.url];
    let gone = ran(&mut operator.client(&out)).await.succeeds();
    assert!(gone.words().contains("until it is revoked"), "{gone:?}");
    assert!(!kept(&operator).contains(KEY));
    let again = ran(&mut operator.client(&out)).await.succeeds();
    assert!(again.words().contains("no key"), "{again:?}");
    ran(&mut operator.client(&["whoami", "--server", &server.url]))
        .await
        .succeeds();
    assert_eq!(server.seen().pop().unwrap().authorization, None);
}

#[tokio::test]
async fn a_key_comes_from_a_file_and_one_that_does_not_count_is_not_kept() {
    let operator = Operator::new();
    let server = StandIn::new(|_| {
        let error = json!({"message": "no", "extensions": {"code": "UNAUTHENTICATED"}});
        super::stand_in::json(hyper::StatusCode::UNAUTHORIZED, &json!({"errors": [error]}))
    })
    .await;
    let file = operator.path("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let login = ["login", "--server", &server.url, "--key-file", "key"];
    let refused = ran(&mut operator.client(&login)).await;
    assert_eq!(refused.code(), 1);
    assert!(
        refused
            .words()
            .contains("others on this machine can read key"),
        "{refused:?}"
    );
    assert!(
        refused.words().contains("the key was the one just given"),
        "{refused:?}"
    );
    assert_eq!(kept(&operator), "");
    assert_eq!(server.operations(), ["Viewer"]);
}

#[tokio::test]
async fn what_is_no_key_is_sent_nowhere_and_not_repeated() {
    let operator = Operator::new();
    let server = StandIn::with_data(|_| viewer(WORKSPACE)).await;
    let login = || operator.client(&["login", "--server", &server.url, "--key-file", "-"]);
    for wrong in ["hunter2", &KEY[..60], ""] {
        let refused = fed(login(), wrong).await;
        assert_eq!(refused.code(), 1, "{refused:?}");
        let told = refused.words();
        assert!(wrong.is_empty() || !told.contains(wrong), "{told}");
    }
    let without_terminal = ran(&mut operator.client(&["login", "--server", &server.url])).await;
    assert!(
        without_terminal.words().contains("--key-file"),
        "{without_terminal:?}"
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_key_goes_over_plain_http_to_this_machine_only() {
    let operator = Operator::new();
    let open = "http://toolroom.invalid";
    let login = operator.client(&["login", "--server", open, "--key-file", "-"]);
    let refused = fed(login, KEY).await;
    assert!(
        refused.code() == 1 && refused.words().contains("--insecure"),
        "{refused:?}"
    );
    let mut whoami = operator.client(&["whoami", "--server", open]);
    let refused = ran(whoami.env("TOOLROOM_API_KEY", TOKEN)).await;
    assert!(refused.words().contains("--insecure"), "{refused:?}");
    // With the flag it is tried, and fails for another reason.
    let mut whoami = operator.client(&["whoami", "--server", open, "--insecure"]);
    let tried = ran(whoami.env("TOOLROOM_API_KEY", TOKEN)).await;
    assert!(tried.words().contains("cannot be reached"), "{tried:?}");
}

#[tokio::test]
async fn of_several_servers_one_is_the_default() {
    let operator = Operator::new();
    let first = StandIn::with_data(|_| viewer(WORKSPACE)).await;
    let second = StandIn::with_data(|_| viewer(WORKSPACE)).await;
    log_in(&operator, &first).await;
    let login = log_in(&operator, &second).await;
    assert!(
        login.words().contains("another server is the default"),
        "{login:?}"
    );
    ran(&mut operator.client(&["whoami"])).await.succeeds();
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));

    let login = [
        "login",
        "--server",
        &second.url,
        "--key-file",
        "-",
        "--default",
    ];
    fed(operator.client(&login), TOKEN).await.succeeds();
    ran(&mut operator.client(&["whoami"])).await.succeeds();
    let seen = second.seen().pop().unwrap();
    assert_eq!(seen.authorization.unwrap(), format!("Bearer {TOKEN}"));
    assert_eq!(first.seen().len(), 2);
}

#[tokio::test]
async fn in_a_pipeline_the_environment_is_enough() {
    let operator = Operator::new();
    let server = StandIn::with_data(|_| viewer(WORKSPACE)).await;
    let mut whoami = operator.command(&["whoami"]);
    whoami
        .env_remove("HOME")
        .env_remove("XDG_CONFIG_HOME")
        // A proxy could read what passes through it: nothing for this machine does.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("TOOLROOM_SERVER", &server.url)
        .env("TOOLROOM_API_KEY", TOKEN);
    ran(&mut whoami).await.succeeds();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.authorization.unwrap(), format!("Bearer {TOKEN}"));
}
