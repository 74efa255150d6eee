//! Starting, stopping, dying.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::CommandError;

use crate::support::{Operator, PATIENCE, postgres};

/// Between looks at a database that is away.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_server_that_is_asked_to_stop_leaves_nothing_running() {
    let operator = Operator::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = operator.serve().await;
        let database = postgres(&operator.path("toolroom-data"));
        server.signal(signal);
        assert_eq!(server.ended().await.0, Some(0));
        assert!(
            kill(database, None).is_err(),
            "the embedded server still runs"
        );
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_told_so() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let second = operator.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(second.code(), 1);
    assert!(
        second.words().contains("in use by another toolroom"),
        "{second:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_killed_server_is_followed_by_one_with_the_same_chain() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let log = operator.log().await;
    for i in 0..5 {
        log.register(&format!("tool{i}"), WorkspaceId::DEFAULT)
            .await;
    }
    log.reaches(5).await;
    let noted = operator.run(&["verify"]).await.succeeds().out();
    let head = noted.trim().rsplit_once(' ').unwrap().1.to_owned();
    server.signal(Signal::SIGKILL);
    server.ended().await;
    log.close().await;

    let server = operator.serve().await;
    operator
        .run(&["verify", "--expect", &head])
        .await
        .succeeds();
    server.stop().await;
}

#[tokio::test]
async fn an_embedded_server_that_dies_comes_back_under_a_running_toolroom() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let log = operator.log().await;
    log.register("before", WorkspaceId::DEFAULT).await;
    kill(postgres(&operator.path("toolroom-data")), Signal::SIGQUIT).unwrap();
    // Commands are refused meanwhile, and work again by themselves.
    let after = async {
        while let Err(error) = log.try_register("after", WorkspaceId::DEFAULT).await {
            assert!(matches!(error, CommandError::Unavailable), "{error}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, after)
        .await
        .expect("the database is back");
    log.reaches(2).await;
    log.close().await;
    operator.run(&["verify"]).await.succeeds();
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_others_reach_demands_credentials() {
    let operator = Operator::new();
    std::fs::write(operator.path("toolroom.toml"), "auth.required = false").unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = operator.run(&["serve", "--listen", address]).await;
        assert_eq!(refused.code(), 1);
        assert!(refused.words().contains("`auth.required`"), "{refused:?}");
    }
    assert!(
        !operator.path("toolroom-data").exists(),
        "nothing was begun"
    );
}

#[tokio::test]
async fn a_lost_master_key_is_not_replaced() {
    let operator = Operator::new();
    operator.serve().await.stop().await;
    let key = operator.path("toolroom-data/master.key");
    std::fs::rename(&key, operator.path("safe.key")).unwrap();
    let refused = operator.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.words().contains("master key file") && !key.exists(),
        "{refused:?}"
    );
    std::fs::rename(operator.path("safe.key"), &key).unwrap();
    operator.serve().await.stop().await;
}
