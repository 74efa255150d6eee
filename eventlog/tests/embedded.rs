//! The embedded server, through everything that may befall it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::unistd::{User, geteuid};
use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use tempfile::TempDir;
use toolroom_eventlog::embedded::{self, Error, Options, Server};

/// A limit for waits that end much sooner unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the test that is a child's body where its data folder is.
const HOLD: &str = "TOOLROOM_TEST_HOLD";

fn temp_with_mode(mode: u32) -> TempDir {
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(mode))
        .tempdir()
        .unwrap()
}

fn temp() -> TempDir {
    temp_with_mode(0o711)
}

fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_path_buf(),
        bin_dir: std::env::var_os("TOOLROOM_PG_BIN").map(PathBuf::from),
        settings: Vec::new(),
    }
}

async fn start(data_dir: &Path) -> Server {
    match embedded::start(options(data_dir)).await {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    }
}

async fn start_fails(options: Options) -> Error {
    embedded::start(options)
        .await
        .expect_err("this must not start")
}

async fn run(options: &PgConnectOptions, statement: &str) {
    let mut connection = options.connect().await.unwrap();
    connection.execute(statement).await.unwrap();
    connection.close().await.unwrap();
}

async fn ask<T>(options: &PgConnectOptions, query: &str) -> T
where
    T: Send + Unpin + for<'row> sqlx::Decode<'row, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut connection = options.connect().await.unwrap();
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    answer.unwrap()
}

/// This test program again, as a process that holds a server on `data_dir`.
fn holder(program: &Path, data_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", "the_body_of_a_child_process", "--nocapture"])
        .env(HOLD, data_dir)
        .current_dir("/")
        .stdout(Stdio::piped());
    command
}

fn wait_until_holding(child: &mut Child) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let ready = output.lines().any(|line| line.unwrap().contains("holding"));
    assert!(ready, "the child must say that its server is up");
}

fn kill9(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A process that goes with the test, also when that fails.
struct KilledAtEnd(Child);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Holds a server until it is killed; on its own, without a folder in the environment, does nothing.
#[tokio::test]
async fn the_body_of_a_child_process() {
    let Some(data_dir) = std::env::var_os(HOLD) else {
        return;
    };
    let server = start(Path::new(&data_dir)).await;
    writeln!(std::io::stdout(), "holding").unwrap();
    server.exited().await;
}

#[tokio::test]
async fn data_outlives_a_stop_and_a_restart() {
    let temp = temp();
    let data_dir = temp.path().join("data");
    let server = start(&data_dir).await;
    run(
        &server.connect_options(),
        "create table kept as select 42 as answer",
    )
    .await;
    server.stop().await.unwrap();

    let server = start(&data_dir).await;
    let answer: i32 = ask(&server.connect_options(), "select answer from kept").await;
    assert_eq!(answer, 42);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_durable_and_reachable_by_socket_only() {
    let temp = temp();
    let server = start(temp.path()).await;
    let connect = server.connect_options();
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ] {
        let found: String = ask(&connect, &format!("select current_setting('{setting}')")).await;
        assert_eq!(found, value, "{setting}");
    }
    let (collate, lower): (String, String) = sqlx::query_as(
        "select datcollate, lower('ÄÉ') from pg_database where datname = current_database()",
    )
    .fetch_one(&mut connect.connect().await.unwrap())
    .await
    .unwrap();
    assert_eq!((collate.as_str(), lower.as_str()), ("C", "äé"));
    let folder = connect.get_socket().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_start_is_refused_and_does_no_harm() {
    let temp = temp();
    let server = start(temp.path()).await;
    let error = start_fails(options(temp.path())).await;
    assert!(
        matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    let one: i32 = ask(&server.connect_options(), "select 1").await;
    assert_eq!(one, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_toolroom_is_followed_by_a_clean_start() {
    let temp = temp();
    let program = std::env::current_exe().unwrap();
    let mut child = holder(&program, temp.path()).spawn().unwrap();
    wait_until_holding(&mut child);
    let connect = embedded::attach(temp.path()).await.unwrap().unwrap();
    run(&connect, "create table kept as select 42 as answer").await;
    kill9(child);

    let server = start(temp.path()).await;
    let answer: i32 = ask(&server.connect_options(), "select answer from kept").await;
    assert_eq!(answer, 42);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_toolroom_takes_its_server_along() {
    let temp = temp();
    let program = std::env::current_exe().unwrap();
    let mut child = holder(&program, temp.path()).spawn().unwrap();
    wait_until_holding(&mut child);
    assert!(embedded::attach(temp.path()).await.unwrap().is_some());
    kill9(child);
    let gone = tokio::time::timeout(PATIENCE, async {
        while embedded::attach(temp.path()).await.unwrap().is_some() {}
    });
    gone.await.expect("the server ends without anybody's doing");
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_afresh() {
    let temp = temp();
    let program = std::env::current_exe().unwrap();
    let child = holder(&program, temp.path()).spawn().unwrap();
    let half_done = temp.path().join("postgres.unfinished/base");
    let seen = tokio::time::timeout(PATIENCE, async {
        while !half_done.exists() {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("initdb creates this folder half-way");
    kill9(child);
    assert!(!temp.path().join("postgres").exists());

    let server = start(temp.path()).await;
    let one: i32 = ask(&server.connect_options(), "select 1").await;
    assert_eq!(one, 1);
    assert!(!half_done.exists());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_with_a_reused_id_is_no_obstacle() {
    let temp = temp();
    start(temp.path()).await.stop().await.unwrap();
    let cluster = temp.path().join("postgres");
    let socket = temp.path().join("run/.s.PGSQL.5432");

    // The id now belongs to a process of the server's account, for which PostgreSQL refuses.
    let mut other = Command::new("sleep");
    other.arg("600").current_dir("/").stdout(Stdio::null());
    if geteuid().is_root() {
        other.uid(cluster.metadata().unwrap().uid());
    }
    let other = KilledAtEnd(other.spawn().unwrap());
    let other_id = other.0.id();
    let stale = format!(
        "{}\n{}\n1\n5432\n\n\n\nready\n",
        other_id,
        cluster.display()
    );
    fs::write(cluster.join("postmaster.pid"), stale).unwrap();
    fs::write(&socket, "").unwrap();
    fs::write(
        socket.with_extension("5432.lock"),
        format!("{}\n", other_id),
    )
    .unwrap();

    assert!(embedded::attach(temp.path()).await.unwrap().is_none());
    let server = start(temp.path()).await;
    let one: i32 = ask(&server.connect_options(), "select 1").await;
    assert_eq!(one, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let temp = temp();
    let data_dir = temp.path().join("long-".repeat(40)).join("data");
    let server = start(&data_dir).await;
    let connect = server.connect_options();
    let folder = connect.get_socket().unwrap().clone();
    assert!(!folder.starts_with(temp.path()));
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    let attached = embedded::attach(&data_dir).await.unwrap().unwrap();
    let one: i32 = ask(&attached, "select 1").await;
    assert_eq!(one, 1);
    server.stop().await.unwrap();
    assert!(!folder.exists(), "nothing stays under the temporary folder");
}

/// As root only: an ordinary user's server passes wherever the user does.
#[tokio::test]
async fn a_folder_below_one_that_is_closed_to_the_server_works() {
    let temp = temp_with_mode(0o700);
    let data_dir = temp.path().join("data");
    for _first_then_again in 0..2 {
        let server = start(&data_dir).await;
        run(
            &server.connect_options(),
            "create table if not exists kept ()",
        )
        .await;
        run(
            &server.connect_options(),
            "select pg_reload_conf(), 1 from kept",
        )
        .await;
        server.stop().await.unwrap();
    }
    assert_eq!(fs::metadata(temp.path()).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_ordinary_user_needs_no_rights() {
    if !geteuid().is_root() {
        return; // All the other tests show it then.
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let temp = temp();
    let own = temp.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(nobody.uid.as_raw()), None).unwrap();
    // A copy, since the original may lie where only root may read.
    let program = temp.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();

    let mut command = holder(&program, &own.join("data"));
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    // Another test's child may hold the copy open for writing until it has begun its own program.
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            spawned => break spawned.unwrap(),
        }
    };
    wait_until_holding(&mut child);
    let cluster = own.join("data/postgres").metadata().unwrap();
    assert_eq!(cluster.uid(), nobody.uid.as_raw());
    kill9(child);

    // Root may go on with it, as that user.
    let server = start(&own.join("data")).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn tools_beside_a_server_find_it_while_it_runs() {
    let temp = temp();
    let nowhere = temp.path().join("nowhere");
    assert!(embedded::attach(&nowhere).await.unwrap().is_none());
    assert!(embedded::attach(temp.path()).await.unwrap().is_none());
    let server = start(temp.path()).await;
    let connect = embedded::attach(temp.path()).await.unwrap().unwrap();
    let user: String = ask(&connect, "select current_user || '@' || current_database()").await;
    assert_eq!(user, "toolroom@toolroom");
    server.stop().await.unwrap();
    assert!(embedded::attach(temp.path()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_end_of_the_server_is_told_to_all_who_wait() {
    let temp = temp();
    let server = start(temp.path()).await;
    let pid_file = fs::read_to_string(temp.path().join("postgres/postmaster.pid")).unwrap();
    let pid = pid_file.lines().next().unwrap().parse().unwrap();
    let kill = async {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    let ends = tokio::time::timeout(PATIENCE, async {
        tokio::join!(server.exited(), server.exited(), kill)
    });
    let (first, second, ()) = ends.await.unwrap();
    assert!(!first.success());
    assert_eq!(first, second);
}

#[tokio::test]
async fn another_major_version_is_refused_with_the_mend() {
    let temp = temp();
    start(temp.path()).await.stop().await.unwrap();
    fs::write(temp.path().join("postgres/PG_VERSION"), "999\n").unwrap();
    let error = start_fails(options(temp.path())).await;
    assert!(
        matches!(error, Error::VersionMismatch { cluster: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("`postgresql-999`"), "{error}");
}

#[tokio::test]
async fn a_server_that_will_not_start_is_quoted() {
    let temp = temp();
    let mut options = options(temp.path());
    options.settings = vec![("max_connections".to_owned(), "minus one".to_owned())];
    let error = start_fails(options).await;
    assert!(matches!(error, Error::EndedAtStart { .. }), "{error}");
    assert!(error.to_string().contains("minus one"), "{error}");
    start(temp.path()).await.stop().await.unwrap();
}
