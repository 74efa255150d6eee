//! A database of one's own, whose role is no superuser.

use std::path::Path;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, migrate::Migrator};
use toolroom_eventlog::testing::TestCluster;

use crate::support::{Operator, PATIENCE, Ran};

/// Something to be kept and shown.
const EVENT: &str = r#"
    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
    values ('probe', gen_random_uuid(), 1, 'Probed', '1.0', '{}',
            '{"workspace_id":"ws_00000000000000000000000000000001","actor":"system:test",
              "command_id":"c","correlation_id":"c"}')"#;

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

    async fn login(&self) -> PgConnection {
        PgConnection::connect(self.operator.database_url())
            .await
            .unwrap()
    }

    /// Migrates, serves, backs up: all that a database is asked for. The role sees all that is in
    /// it, though the policies hold for it too.
    async fn works(&self) {
        self.operator.run(&["migrate"]).await.succeeds();
        let mut login = self.login().await;
        login.execute(EVENT).await.unwrap();
        let server = self.operator.serve().await;
        let sequenced = async {
            let head = "select position from sequencer_state";
            while sqlx::query_scalar::<_, i64>(head)
                .fetch_one(&mut login)
                .await
                .unwrap()
                < 1
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, sequenced).await.unwrap();
        let looked = self.operator.run(&["doctor"]).await.succeeds();
        assert!(looked.out().contains("nothing to mend"), "{looked:?}");
        server.stop().await;
        self.operator.run(&["rebuild", "all"]).await.succeeds();
        self.operator.run(&["backup", "backup"]).await.succeeds();
        self.shows_the_event(&self.operator).await;
        login.close().await.unwrap();
    }

    /// That nothing is hidden from who proves and exports the log.
    async fn shows_the_event(&self, operator: &Operator) {
        let verified = operator.run(&["verify"]).await.succeeds();
        assert!(verified.out().contains("events, head "), "{verified:?}");
        for command in [&["replay", "--sealed"][..], &["export"]] {
            let shown = operator.run(command).await.succeeds();
            assert!(shown.out().contains("Probed"), "{shown:?}");
        }
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
    own.shows_the_event(&restored).await;
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

#[tokio::test]
async fn a_database_of_the_one_former_role_is_taken_over_with_its_read_models() {
    let own = Own::new(
        "tools",
        &[
            "create role tools login createrole",
            "create database own owner tools",
        ],
    )
    .await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut former = Migrator::new(folder).await.unwrap();
    former.migrations.to_mut().retain(|m| m.version < 7);
    let mut login = own.login().await;
    former.run(&mut login).await.unwrap();
    login
        .execute(
            "set role toolroom_app;
             create table projections.notes (workspace_id uuid not null);
             create table projections.queue__g7 (workspace_id text not null);
             reset role",
        )
        .await
        .unwrap();
    own.works().await;
    let taken_over: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', c.relname, c.relowner::regrole, c.relrowsecurity,
                          c.relforcerowsecurity,
                          has_table_privilege('toolroom_reader', c.oid, 'select'),
                          has_table_privilege('toolroom_queue', c.oid, 'update'),
                          has_table_privilege('toolroom_app', c.oid, 'select'))
         from pg_class c where c.relname in ('notes', 'queue__g7') order by 1",
    )
    .fetch_all(&mut login)
    .await
    .unwrap();
    assert_eq!(
        taken_over,
        [
            "notes toolroom_projector t t t f f",
            "queue__g7 toolroom_projector t t t t f"
        ]
    );
    login.close().await.unwrap();
}
