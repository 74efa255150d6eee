//! A database of one's own, whose role is no superuser.

use sqlx::{ConnectOptions as _, Executor as _};
use toolroom_eventlog::testing::TestCluster;

use crate::support::{Operator, Ran};

/// What an administrator does, and an operator whose connections have this role.
struct Own {
    cluster: TestCluster,
    operator: Operator,
}

impl Own {
    async fn new(role: &str, statements: &[&str]) -> Self {
        let cluster = TestCluster::start().await;
        let connect = cluster.connect_options();
        let socket = connect.get_socket().expect("is a socket");
        let url = format!(
            "postgres://{role}@localhost:{}/own?host={}",
            connect.get_port(),
            socket.display()
        );
        let own = Self {
            cluster,
            operator: Operator::with_database(url),
        };
        for statement in statements {
            own.administrator("postgres", statement).await;
        }
        own
    }

    async fn administrator(&self, database: &str, sql: &str) {
        let connect = self.cluster.connect_options().database(database);
        let mut connection = connect.connect().await.unwrap();
        connection.execute(sql).await.unwrap();
    }

    /// Migrates, serves, backs up: all that a database is asked for.
    async fn works(&self) {
        self.operator.run(&["migrate"]).await.succeeds();
        let server = self.operator.serve().await;
        let looked = self.operator.run(&["doctor"]).await.succeeds();
        assert!(looked.out().contains("nothing to mend"), "{looked:?}");
        server.stop().await;
        self.operator.run(&["rebuild", "all"]).await.succeeds();
        self.operator.run(&["backup", "backup"]).await.succeeds();
        self.operator.run(&["verify"]).await.succeeds();
    }
}

/// The SQL that the doctor prescribes, all of it.
fn prescribed(looked: &Ran) -> String {
    assert_eq!(looked.code(), 1, "{looked:?}");
    let out = looked.out();
    let sql: Vec<_> = out
        .lines()
        .filter_map(|line| line.split_once("as an administrator of the database: "))
        .map(|(_, sql)| sql)
        .collect();
    sql.join(" ")
}

#[tokio::test]
async fn a_role_that_may_create_roles_needs_nothing_more() {
    let own = Own::new(
        "tools",
        &[
            "create role tools login createrole",
            "create database own owner tools",
        ],
    )
    .await;
    own.works().await;
    let restored = Operator::with_database(own.operator.database_url().replace("/own?", "/empty?"));
    own.administrator("postgres", "create database empty owner tools")
        .await;
    let backup = own.operator.path("backup");
    restored
        .run(&["restore", backup.to_str().unwrap()])
        .await
        .succeeds();
}

#[tokio::test]
async fn a_plain_role_works_once_the_very_words_of_the_doctor_were_followed() {
    // A name that must be quoted, and neither the role nor the database given.
    let own = Own::new(
        "the-tools",
        &["create role \"the-tools\" login", "create database own"],
    )
    .await;
    let refused = own.operator.run(&["migrate"]).await;
    let looked = own.operator.run(&["doctor"]).await;
    let sql = prescribed(&looked);
    assert!(
        sql.starts_with(
            "create role toolroom_reader nologin; create role toolroom_committer nologin;"
        ),
        "{sql}"
    );
    assert!(
        sql.contains(
            "grant toolroom_reader, toolroom_committer, toolroom_sequencer, toolroom_projector, \
             toolroom_queue, toolroom_authenticator, toolroom_app to \"the-tools\""
        ),
        "{sql}"
    );
    assert!(
        sql.ends_with("; alter database own owner to \"the-tools\";"),
        "{sql}"
    );
    assert!(
        refused.code() == 1 && refused.words().contains(&sql),
        "{refused:?}"
    );
    own.administrator("own", &sql).await;
    own.works().await;
}

#[tokio::test]
async fn a_role_that_was_not_granted_is_told_so() {
    let own = Own::new(
        "tools",
        &[
            "create role tools login noinherit",
            "create role toolroom_app nologin",
            "create role toolroom_reader nologin",
            "create role toolroom_committer nologin",
            "create role toolroom_sequencer nologin",
            "create role toolroom_projector nologin",
            "create role toolroom_queue nologin",
            "create role toolroom_authenticator nologin",
            "create database own owner tools",
        ],
    )
    .await;
    let looked = own.operator.run(&["doctor"]).await;
    let sql = prescribed(&looked);
    assert!(
        sql.starts_with("grant toolroom_reader, toolroom_committer, "),
        "{sql}"
    );
    own.administrator("own", &sql).await;
    own.works().await;

    // Tables that somebody else has migrated are theirs.
    own.administrator(
        "own",
        "create role other login; grant toolroom_reader, toolroom_committer, toolroom_sequencer,
             toolroom_projector, toolroom_queue, toolroom_authenticator to other;
         alter database own owner to other;",
    )
    .await;
    let other = Operator::with_database(own.operator.database_url().replace("tools@", "other@"));
    let looked = other.run(&["doctor"]).await;
    assert_eq!(prescribed(&looked), "grant tools to other;");
    own.administrator("own", &prescribed(&looked)).await;
    other.run(&["migrate"]).await.succeeds();
}
