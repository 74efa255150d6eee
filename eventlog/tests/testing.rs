//! The databases that other tests stand on.

use sqlx::{Connection, Executor, PgConnection};
use toolroom_eventlog::testing::{TestCluster, TestDatabase};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (first, second) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    let (first, second) = (first.pool().await, second.pool().await);
    for pool in [&first, &second] {
        pool.execute("create table mine (id int)").await.unwrap();
    }
    first.execute("insert into mine values (1)").await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from mine")
        .fetch_one(&second)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_test_database_is_migrated() {
    let database = TestDatabase::create().await;
    let migrations: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&database.pool().await)
        .await
        .unwrap();
    assert!(migrations);
}

#[tokio::test]
async fn a_crash_keeps_what_was_committed_and_nothing_else() {
    let mut cluster = TestCluster::start().await;
    let mut connection = PgConnection::connect_with(&cluster.connect_options())
        .await
        .unwrap();
    connection
        .execute("create table kept as select 1 as id")
        .await
        .unwrap();
    let mut open = connection.begin().await.unwrap();
    open.execute("insert into kept values (2)").await.unwrap();
    cluster.kill9().await;
    cluster.restart().await;

    let mut connection = PgConnection::connect_with(&cluster.connect_options())
        .await
        .unwrap();
    let ids: Vec<i32> = sqlx::query_scalar("select id from kept")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(ids, [1]);
}
