//! Tables that are filled anew while the old ones serve.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use async_trait::async_trait;
use proptest::prelude::*;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Role, WorkspaceId, job,
    tool::{Command, DetailsPatch},
    workspace::{self, MemberRef, Sender},
};
use toolroom_eventlog::RecordedEvent;
use toolroom_projections::{
    ApplyError, PageRequest, Projection, ProjectionState, Tables,
    catalog::{Catalog, ListTools, ToolFilter, query},
    rebuild_blocking,
};

use crate::support::{App, PATIENCE, WORKSPACE, at, invitation, native, only, sealed, user};

async fn rebuild(app: &App, name: &str) {
    let all = toolroom_projections::all();
    rebuild_blocking(&app.log, &all, name, &CancellationToken::new(), |_| {})
        .await
        .unwrap();
}

/// What is done to one of three tools or three jobs, or with one of three invitations.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tool(usize, u8),
    Job(usize, u8),
    People(u8, u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize, 0..7_u8).prop_map(|(tool, what)| Step::Tool(tool, what)),
        (0..3_usize, 0..6_u8).prop_map(|(job, what)| Step::Job(job, what)),
        (0..3_u8, 0..8_u8).prop_map(|(whom, what)| Step::People(whom, what)),
    ]
}

async fn live(app: &App, steps: &[Step]) {
    let mut tools = Vec::new();
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        tools.push(app.register_with(name, number, |_| {}).await);
    }
    let mut jobs = Vec::new();
    for tool in &tools {
        jobs.push(app.request(*tool).await);
    }
    let workspace = app.create_workspace("theirs", "owner", 20).await;
    for (second, step) in (20..).zip(steps) {
        let at = at(second);
        match *step {
            Step::Tool(tool, what) => {
                let revise = |name: Option<&str>, function| Command::Revise {
                    expected_version: None,
                    details: DetailsPatch {
                        name: name.map(ToOwned::to_owned),
                        ..DetailsPatch::default()
                    },
                    definition: Some(native(function)),
                    active: None,
                    at,
                };
                let command = match what {
                    0 => Command::Activate { at },
                    1 => Command::Deactivate { at },
                    2 => Command::Delete { at },
                    3 => Command::RestoreVersion { version: 1, at },
                    4 => revise(Some("d"), "echo"),
                    5 => revise(Some("e"), "time.now"),
                    _ => revise(None, "json.query"),
                };
                app.tool(tools[tool], command).await;
            }
            Step::Job(job, what) => {
                let attempt = 1;
                let command = match what {
                    0 | 1 => job::Command::Start {
                        node: "node".to_owned(),
                        lease_ms: 1,
                        ground: match what {
                            0 => job::Ground::Due { after: 0 },
                            _ => job::Ground::Silent { attempt },
                        },
                        at,
                    },
                    2 => job::Command::Succeed {
                        attempt,
                        output: sealed("x"),
                        duration_us: 7,
                        exit_code: None,
                        told: Default::default(),
                        at,
                    },
                    3 => job::Command::Fail {
                        attempt,
                        error: job::Failure {
                            code: "TOOL_FAILED".to_owned(),
                            category: toolroom_domain::ErrorCategory::Unknown,
                            message: "no".to_owned(),
                            retryable: true,
                            details: None,
                        },
                        duration_us: 70,
                        exit_code: None,
                        retry_at: None,
                        told: Default::default(),
                        at,
                    },
                    4 => job::Command::Retry { run_at: at, at },
                    _ => job::Command::Cancel { reason: None, at },
                };
                app.job(jobs[job], command).await;
            }
            Step::People(whom, what) => people(app, workspace, whom, what, second).await,
        }
    }
}

async fn people(app: &App, id: WorkspaceId, whom: u8, what: u8, second: i64) {
    let (at, sender) = (at(second), Sender::Operator);
    let name = format!("user-{whom}");
    let command = match what {
        0 | 1 => {
            app.invite(id, whom, &format!("{name}@example.com"), second)
                .await;
            return;
        }
        2 | 3 => {
            app.accept(id, whom, &name, second).await;
            return;
        }
        4 => {
            let key = app.create_key(&name, second, None).await;
            app.revoke_key(key, second).await;
            return;
        }
        5 => workspace::Command::SetRole {
            sender,
            member: MemberRef::Invitation(invitation(whom)),
            role: Role::Auditor,
            at,
        },
        6 => workspace::Command::Remove {
            sender,
            member: MemberRef::User(user(&name)),
            at,
        },
        _ => workspace::Command::Update {
            sender,
            name: Some(name),
            time_zone: None,
            at,
        },
    };
    app.workspace(id, command).await;
}

proptest! {
    // Each case has a database of its own; a few long stories say more than many short ones.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_rebuild_gives_the_rows_that_were_there(
        steps in proptest::collection::vec(any_step(), 10..60),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (before, after) = runtime.block_on(async {
            let app = App::start().await;
            live(&app, &steps).await;
            app.settled().await;
            let before = app.rows().await;
            rebuild(&app, "all").await;
            app.settled().await;
            let after = app.rows().await;
            app.stop().await;
            (before, after)
        });
        prop_assert!(before.len() > 12);
        prop_assert_eq!(before, after);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_notice_nothing_of_a_rebuild() {
    let app = App::start().await;
    app.append_tools(2_000).await;
    app.settled().await;
    let over = AtomicBool::new(false);
    let reads = AtomicI64::new(0);
    let read = || async {
        let list = ListTools {
            filter: ToolFilter::default(),
            page: PageRequest {
                with_total: true,
                ..PageRequest::first(20)
            },
        };
        while !over.load(Ordering::SeqCst) {
            let page = query::list(app.reads(), WORKSPACE, &list).await.unwrap();
            assert!(page.total_count >= Some(2_001), "{:?}", page.total_count);
            assert_eq!(page.rows.len(), 20);
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    let write = async {
        for round in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let name = format!("new_{round}");
            let id = app.register_with(&name, 10_000 + round, |_| {}).await;
            let head = app.sequenced().await;
            assert!(
                app.reader()
                    .wait_for("catalog", head, PATIENCE)
                    .await
                    .unwrap()
            );
            let found = query::by_id(app.reads(), WORKSPACE, id).await.unwrap();
            assert!(
                found.is_some(),
                "{name} is not in the catalogue after its wait"
            );
        }
    };
    let rebuilds = async {
        for _ in 0..3 {
            rebuild(&app, "catalog").await;
        }
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(read(), read(), write, rebuilds);
    assert!(reads.load(Ordering::SeqCst) > 10);
    app.settled().await;
    let before = app.rows().await;
    rebuild(&app, "catalog").await;
    assert_eq!(app.rows().await, before);
    app.stop().await;
}

#[tokio::test]
async fn a_killed_rebuild_goes_on_where_it_was() {
    let app = App::bare().await;
    app.append_tools(3_000).await;
    app.sequenced().await;
    let all = only("catalog");
    let killed_at = AtomicI64::new(0);
    let killed = CancellationToken::new();
    {
        let ignored = CancellationToken::new();
        let doomed = rebuild_blocking(&app.log, &all, "catalog", &ignored, |progress| {
            if progress.position >= 500 && !killed.is_cancelled() {
                killed_at.store(progress.position, Ordering::SeqCst);
                killed.cancel();
            }
        });
        // Dropping the future is what a kill leaves: no more steps, no tidying up.
        tokio::select! {
            biased;
            () = killed.cancelled() => {}
            outcome = doomed => panic!("it was not killed in time: {outcome:?}"),
        }
    }
    // The holder is gone, but nobody knows yet.
    sqlx::query("update checkpoints set lease_until = now() where follower = 'catalog/rebuild'")
        .execute(&app.owner)
        .await
        .unwrap();
    let mut first = None;
    rebuild_blocking(
        &app.log,
        &all,
        "catalog",
        &CancellationToken::new(),
        |progress| {
            first.get_or_insert(progress.position);
        },
    )
    .await
    .unwrap();
    assert!(
        first.unwrap() > killed_at.load(Ordering::SeqCst),
        "{first:?}"
    );
    let count = "select count(*) from projections.tools";
    let tools: i64 = sqlx::query_scalar(count)
        .fetch_one(&app.owner)
        .await
        .unwrap();
    assert_eq!(tools, 3_001);
    app.stop().await;
}

/// The catalogue of a later binary, with a column more.
struct NextCatalog;

#[async_trait]
impl Projection for NextCatalog {
    fn name(&self) -> &'static str {
        "catalog"
    }

    fn version(&self) -> i32 {
        Catalog.version() + 1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        Catalog.aggregate_types()
    }

    fn tables(&self) -> &'static [&'static str] {
        Catalog.tables()
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let mut statements = Catalog.create(tables);
        let tools = tables.table("tools");
        statements.push(format!(
            "alter table {tools} add column new integer default 7"
        ));
        statements
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        Catalog.apply(tx, tables, events).await
    }
}

#[tokio::test]
async fn a_new_version_rebuilds_by_itself_and_an_old_one_stands_back() {
    let app = App::bare().await;
    let old = app.node("old", only("catalog"));
    let tool = app.register("say").await;
    app.settled_on(&old.reader).await;

    let new = app.node("new", vec![Arc::new(NextCatalog)]);
    let rebuilt = async {
        loop {
            let sql = "select version from read_models where name = 'catalog'";
            let version: i32 = sqlx::query_scalar(sql).fetch_one(&app.owner).await.unwrap();
            if version == Catalog.version() + 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rebuilt).await.unwrap();
    app.toggle(tool, false).await;
    app.settled_on(&new.reader).await;
    let sql = "select new, is_active from projections.tools";
    let row: (i32, bool) = sqlx::query_as(sql).fetch_one(&app.owner).await.unwrap();
    assert_eq!(row, (7, false));
    // What the old binary reads is still there for it to read.
    let read = query::by_id(app.reads(), WORKSPACE, tool)
        .await
        .unwrap()
        .unwrap();
    assert!(!read.is_active);
    new.stop().await;
    let status = old.reader.status().await.unwrap();
    assert_eq!(status[0].state, ProjectionState::Stopped);
    old.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_projection_whose_tables_were_dropped_comes_back_from_the_log() {
    let app = App::bare().await;
    let node = app.node("node", only("catalog"));
    let tool = app.register("say").await;
    app.settled_on(&node.reader).await;
    node.stop().await;
    sqlx::query("drop table projections.tools")
        .execute(&app.owner)
        .await
        .unwrap();
    let node = app.node("node", only("catalog"));
    let head = app.sequenced().await;
    // The old checkpoint says that all is there, until the tables are laid out anew.
    node.reader.prepare().await.unwrap();
    assert!(
        node.reader
            .wait_for("catalog", head, PATIENCE)
            .await
            .unwrap()
    );
    assert!(
        query::by_id(app.reads(), WORKSPACE, tool)
            .await
            .unwrap()
            .is_some()
    );
    node.stop().await;
    app.stop().await;
}
