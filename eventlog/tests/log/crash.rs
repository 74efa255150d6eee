//! Crashes: the server killed under writers, and the log moved to another cluster.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use sqlx::PgPool;
use toolroom_domain::{WorkspaceId, tool::Tool};
use toolroom_eventlog::{
    EventLog,
    checkpoint::{self, Lease},
    command::{CommandError, Target},
    database::ROLES,
    log::Options,
    migrate, recovery,
    testing::TestCluster,
    verify::verify,
};

use crate::support::{PATIENCE, Started, context, register, toggle};

async fn migrated(cluster: &TestCluster) -> Started {
    let owner = PgPool::connect_with(cluster.connect_options())
        .await
        .unwrap();
    migrate(&owner).await.unwrap();
    recovery::resume(&owner).await.unwrap();
    owner.close().await;
    Started::on(cluster.connect_options(), Options::default()).await
}

/// Appends until the server has been away and is back, and says which commands were acknowledged.
async fn write_through_a_crash(
    log: EventLog,
    writer: usize,
    crashed: tokio_util::sync::CancellationToken,
) -> Vec<(String, usize)> {
    let tool = loop {
        match register(&log, &format!("w{writer}"), context()).await {
            Ok(executed) => break executed,
            Err(CommandError::NameTaken { .. }) => return Vec::new(),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let id = tool.aggregate_id.clone();
    let mut acknowledged = vec![(id.clone(), 1)];
    let mut after_crash = 0;
    while after_crash < 10 {
        let Ok(loaded) = log.bus.load::<Tool>(WorkspaceId::DEFAULT, &id).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let command = toggle(&loaded.aggregate);
        let target = Target::Held(id.clone(), loaded);
        if let Ok(executed) = log.bus.execute(target, command, &context()).await {
            acknowledged.push((id.clone(), executed.after.sequence));
            after_crash += usize::from(crashed.is_cancelled());
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_appends_and_sequencing_loses_nothing_acknowledged_and_keeps_the_chain() {
    let mut cluster = TestCluster::start().await;
    let app = migrated(&cluster).await;
    let crashed = tokio_util::sync::CancellationToken::new();
    let writers: Vec<_> = (0..12)
        .map(|w| tokio::spawn(write_through_a_crash(app.log.clone(), w, crashed.clone())))
        .collect();
    app.reaches(100).await;
    let before = links(&app.owner).await;
    cluster.kill9().await;
    cluster.restart().await;
    crashed.cancel();
    let acknowledged: Vec<(String, usize)> =
        tokio::time::timeout(PATIENCE, futures::future::join_all(writers))
            .await
            .unwrap()
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
    assert!(acknowledged.len() > 100, "the writers wrote");

    let owner = PgPool::connect_with(cluster.connect_options())
        .await
        .unwrap();
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&owner)
        .await
        .unwrap();
    app.reaches(events).await;
    let report = verify(&owner, None, |_| {}).await.unwrap();
    assert_eq!(report.events, events);
    let kept: HashSet<(String, i64)> = sqlx::query_as("select aggregate_id, sequence from events")
        .fetch_all(&owner)
        .await
        .unwrap()
        .into_iter()
        .collect();
    for (id, sequence) in &acknowledged {
        assert!(
            kept.contains(&(id.clone(), *sequence as i64)),
            "{id}/{sequence} was acknowledged and is gone"
        );
    }
    let after = links(&owner).await;
    for (position, hash) in before {
        assert_eq!(
            after[position as usize - 1],
            (position, hash),
            "the chain goes on as it was"
        );
    }
    owner.close().await;
    app.stop().await;
}

async fn links(pool: &PgPool) -> Vec<(i64, Vec<u8>)> {
    sqlx::query_as("select position, hash from event_log order by position")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_into_a_new_cluster_goes_on_densely() {
    let old = TestCluster::start().await;
    let app = migrated(&old).await;
    // the old cluster's transaction ids are ahead of a new one's
    burn_transactions(&app.owner, 300).await;
    for i in 0..20 {
        app.register(&format!("tool{i}")).await.unwrap();
    }
    app.reaches(20).await;
    let before = links(&app.owner).await;
    let head = app.log.feed.head().await.unwrap();
    // committed but not sequenced, as a dump may find it
    app.stop().await;
    let pool = PgPool::connect_with(old.connect_options()).await.unwrap();
    sqlx::query(
        r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
           select 'probe', 'p' || i, 1, 'Probed', '1.0', '{}', '{"workspace_id":"w"}' from generate_series(1, 5) i"#,
    )
    .execute(&pool).await.unwrap();
    pool.close().await;

    let new = TestCluster::start().await;
    let dump = old.data_dir().join("dump.sql");
    // roles are the cluster's and in no dump of a database
    for role in ROLES {
        let create = format!("create role {role} nologin");
        run(&new, "psql", &["--quiet", "--command", &create]);
    }
    run(&old, "pg_dump", &["--file", dump.to_str().unwrap()]);
    run(
        &new,
        "psql",
        &[
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--file",
            dump.to_str().unwrap(),
        ],
    );

    let owner = PgPool::connect_with(new.connect_options()).await.unwrap();
    assert_eq!(
        recovery::resume(&owner).await.unwrap(),
        recovery::Outcome::Resumed { sequenced: 5 }
    );
    assert_eq!(
        recovery::resume(&owner).await.unwrap(),
        recovery::Outcome::SameCluster
    );
    let app = Started::on(new.connect_options(), Options::default()).await;
    for i in 20..30 {
        app.register(&format!("tool{i}")).await.unwrap();
    }
    app.reaches(35).await;
    let after = links(&owner).await;
    assert_eq!(after[..20], before[..], "the old links are as they were");
    assert_eq!(
        after.iter().map(|(p, _)| *p).collect::<Vec<_>>(),
        (1..=35).collect::<Vec<_>>()
    );
    verify(&owner, None, |_| {}).await.unwrap();
    assert_eq!(
        app.log.feed.head().await.unwrap().epoch,
        head.epoch + 1,
        "old positions are known as such"
    );

    // when the new cluster's transaction ids reach the old ones', nothing is sequenced again
    burn_transactions(&owner, 600).await;
    for i in 30..35 {
        app.register(&format!("tool{i}")).await.unwrap();
    }
    app.reaches(40).await;
    let report = verify(&owner, None, |_| {}).await.unwrap();
    assert_eq!((report.events, report.unsequenced), (40, 0));
    owner.close().await;
    app.stop().await;
}

async fn burn_transactions(pool: &PgPool, count: usize) {
    for _ in 0..count {
        sqlx::query("select pg_current_xact_id()")
            .execute(pool)
            .await
            .unwrap();
    }
}

fn run(cluster: &TestCluster, program: &str, arguments: &[&str]) {
    let options = cluster.connect_options();
    let socket = options
        .get_socket()
        .expect("the server listens on a socket")
        .to_owned();
    let status = Command::new(cluster.server().bin_dir().join(program))
        .args([
            "--host",
            socket.to_str().unwrap(),
            "--username",
            options.get_username(),
        ])
        .args(["--dbname", options.get_database().unwrap()])
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{program} failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_commands_are_refused_and_afterwards_everything_resumes() {
    let mut cluster = TestCluster::start().await;
    let app = migrated(&cluster).await;
    app.register("before").await.unwrap();
    cluster.stop().await;
    let away = app.register("during").await;
    assert!(matches!(away, Err(CommandError::Unavailable)), "{away:?}");
    cluster.restart().await;
    let back = tokio::time::timeout(PATIENCE, async {
        loop {
            match app.register("after").await {
                Ok(executed) => return executed,
                Err(CommandError::Unavailable) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
    .expect("the log resumes by itself");
    assert!(back.global_seq.is_some());
    app.reaches(2).await;
    app.stop().await;
}

#[tokio::test]
async fn a_holder_notices_that_a_crash_took_its_checkpoint_back() {
    let app = Started::new().await;
    let pool = app.log.database.projector_pool();
    let mut lease = Lease::acquire(pool, "probe", "node")
        .await
        .unwrap()
        .unwrap();
    let mut connection = pool.acquire().await.unwrap();
    lease.move_in_tx(&mut connection, 2).await.unwrap();
    lease.moved_to(2);
    lease.renew(&mut connection).await.unwrap();
    // what a crash does to a commit that did not wait for the disk
    sqlx::query("update checkpoints set position = 1 where follower = 'probe'")
        .execute(&app.owner)
        .await
        .unwrap();
    let renewed = lease.renew(&mut connection).await;
    assert!(matches!(renewed, Err(checkpoint::Error::LeaseLost(_))));
    drop(connection);
    app.stop().await;
}
