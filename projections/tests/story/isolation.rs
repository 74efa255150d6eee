//! Isolation, as the database itself holds it: for each table there is, whoever made it.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection, Row as _};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{
    database::{AUTHENTICATOR, COMMITTER, PROJECTOR, QUEUE, READER, ROLES, SEQUENCER},
    ids,
};
use toolroom_projections::{Projection, queue::Queue};

use crate::support::{App, PATIENCE};

/// The tables that hold no workspace's data, and why they have none. Of these the reader may have
/// nothing at all.
const SHARED: [(&str, &str); 6] = [
    ("public._sqlx_migrations", "which migrations were applied"),
    ("public.sequencer_state", "where the order of the log ends"),
    ("public.checkpoints", "how far each follower has come"),
    (
        "public.master_key_rotations",
        "how far changes of the server's own key are",
    ),
    ("public.read_models", "which tables each read model has"),
    (
        "operational.leases",
        "which node holds which attempt of which job: random ids, and nothing of what they mean",
    ),
];

/// The functions that see more than whoever calls them, and what they tell the reader.
const TRUSTED: [(&str, &str); 2] = [
    (
        "hashes_before(bigint[])",
        "links of the chain, which tell nothing of what is linked",
    ),
    (
        "position_before(timestamp with time zone)",
        "how long the log was at a moment, which each of its positions tells",
    ),
];

/// What the policy of the reader compares the column with, by its type.
const POLICIES: [&str; 2] = [
    "(workspace_id = current_setting('toolroom.workspace'::text, true))",
    "(workspace_id = (NULLIF(substr(current_setting('toolroom.workspace'::text, true), 4), ''::text))::uuid)",
];

fn all() -> Vec<Arc<dyn Projection>> {
    let mut all = toolroom_projections::all();
    all.push(Arc::new(Queue::default()));
    all
}

/// What the reader could see that is not of its workspace.
async fn leaks(connection: &mut PgConnection) -> Vec<String> {
    let rows = sqlx::query(
        "select n.nspname || '.' || c.relname as name, c.relkind::text as kind,
                c.relrowsecurity and c.relforcerowsecurity as is_forced,
                has_any_column_privilege($1, c.oid, 'select, insert, update, references')
                    or has_table_privilege($1, c.oid, 'delete, truncate, trigger') as has_any,
                has_any_column_privilege($1, c.oid, 'insert, update, references')
                    or has_table_privilege($1, c.oid, 'delete, truncate, trigger') as may_write,
                array(select format('%s %s %s %s', p.polname, p.polcmd, p.polpermissive,
                                    pg_get_expr(p.polqual, p.polrelid))
                      from pg_policy p
                      where p.polrelid = c.oid
                        and exists (select from unnest(p.polroles) r
                                    where r = 0 or pg_has_role($1, r, 'usage'))) as policies
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
           and n.nspname not in ('pg_catalog', 'information_schema')
           and n.nspname not like 'pg\\_t%'
         order by 1",
    )
    .bind(READER)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let mut leaks: Vec<String> = rows.iter().filter_map(leak).collect();
    let trusted: Vec<&str> = TRUSTED.iter().map(|(name, _)| *name).collect();
    leaks.extend(
        sqlx::query_scalar::<_, String>(
            "select p.oid::regprocedure || ': sees more than whoever calls it'
             from pg_proc p
             where p.prosecdef and p.pronamespace <> 'pg_catalog'::regnamespace
               and has_function_privilege($1, p.oid, 'execute')
               and p.oid::regprocedure::text <> all($2)",
        )
        .bind(READER)
        .bind(trusted)
        .fetch_all(connection)
        .await
        .unwrap(),
    );
    leaks
}

fn leak(row: &sqlx::postgres::PgRow) -> Option<String> {
    let name: &str = row.get("name");
    let policies: Vec<String> = row.get("policies");
    let one_workspace = POLICIES.map(|policy| format!("one_workspace r t {policy}"));
    // A table that a rebuild exchanged while the statement ran: its policy is still listed, but
    // what it says can be shown no more.
    if policies == ["one_workspace r t "] {
        return None;
    }
    let problem = if SHARED.iter().any(|(shared, _)| *shared == name) {
        row.get::<bool, _>("has_any")
            .then_some("belongs to nobody, and the reader has rights on it")
    } else if row.get::<&str, _>("kind") != "r" {
        Some("is no table: it has no policies of its own")
    } else if !row.get::<bool, _>("is_forced") {
        Some("has no forced row-level security; `call isolate(…)` in its migration")
    } else if !matches!(policies.as_slice(), [only] if one_workspace.contains(only)) {
        Some("has other policies for the reader than the one of `isolate`")
    } else if row.get::<bool, _>("may_write") {
        Some("may be written by the reader")
    } else {
        None
    };
    problem.map(|problem| format!("{name}: {problem}"))
}

#[tokio::test]
async fn no_table_shows_the_reader_more_than_one_workspace() {
    let app = App::with(all()).await;
    app.register("say").await;
    app.settled().await;
    let mut owner = app.owner.acquire().await.unwrap();
    assert_eq!(leaks(&mut owner).await, Vec::<String>::new());
    // Tables that were filled anew and exchanged are isolated as their predecessors were.
    for projection in all() {
        app.reader().rebuild(projection.name(), None).await.unwrap();
    }
    assert_eq!(leaks(&mut owner).await, Vec::<String>::new());
    rebuilt(&app).await;
    assert_eq!(leaks(&mut owner).await, Vec::<String>::new());
    for (name, _) in SHARED {
        let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(name)
            .fetch_one(&mut *owner)
            .await
            .unwrap();
        assert!(there, "{name} is listed, and is not there");
    }
    drop(owner);
    app.stop().await;
}

async fn rebuilt(app: &App) {
    let done = async {
        loop {
            let busy: bool = sqlx::query_scalar(
                "select exists (select from read_models where next_generation is not null)",
            )
            .fetch_one(&app.owner)
            .await
            .unwrap();
            if !busy {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.unwrap();
}

#[tokio::test]
async fn whatever_opens_a_table_to_the_reader_is_noticed() {
    let app = App::with(all()).await;
    app.reader().prepare().await.unwrap();
    let mut owner = app.owner.acquire().await.unwrap();
    for opening in [
        "create table bare (workspace_id text)",
        "create table projections.bare (workspace_id uuid)",
        "create table bare (workspace_id text); alter table bare enable row level security",
        "create table bare (id text);
         alter table bare enable row level security, force row level security",
        "create schema new; create table new.bare (workspace_id text)",
        "create view seen as select * from events",
        "create function seen() returns setof events language sql security definer
             begin atomic select * from events; end",
        "alter table events no force row level security",
        "alter table projections.tools disable row level security",
        "create policy more on events for select using (true)",
        "create policy more on events for select to toolroom_reader using (true)",
        "alter policy one_workspace on claims using (true)",
        "alter policy one_workspace on projections.jobs to toolroom_queue",
        "grant select on checkpoints to toolroom_reader",
        "grant select (position) on checkpoints to public",
        "grant update on dead_letters to toolroom_reader",
        "grant usage on schema operational to toolroom_reader;
         grant select on operational.leases to toolroom_reader",
    ] {
        let mut tx = owner.begin().await.unwrap();
        sqlx::raw_sql(opening).execute(&mut *tx).await.unwrap();
        let found = leaks(&mut tx).await;
        assert_eq!(found.len(), 1, "{opening}: {found:?}");
        tx.rollback().await.unwrap();
    }
    let refused = sqlx::query("call isolate('sequencer_state')")
        .execute(&mut *owner)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("no column workspace_id"));
    drop(owner);
    app.stop().await;
}

/// Writes a row of a workspace into any table, with some value in each column that needs one.
async fn fill(tx: &mut PgConnection, table: &str, workspace: WorkspaceId) {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select quote_ident(attname), format_type(atttypid, null) from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped
           and attnotnull and attgenerated = '' and attidentity = '' and not atthasdef
         order by attnum",
    )
    .bind(table)
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    let value = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
        ("workspace_id", "uuid") => format!("'{}'", workspace.uuid()),
        ("workspace_id", _) => format!("'{workspace}'"),
        // from which the log takes the workspace
        ("metadata", _) => format!(r#"'{{"workspace_id":"{workspace}"}}'"#),
        (_, "text") => "gen_random_uuid()::text".to_owned(),
        (_, "uuid") => "gen_random_uuid()".to_owned(),
        (_, "bigint" | "integer" | "smallint" | "double precision") => {
            "(1 + random() * 30000)::int".to_owned()
        }
        (_, "boolean") => "false".to_owned(),
        (_, "json" | "jsonb") => "'{}'".to_owned(),
        (_, "bytea") => "'\\x00'".to_owned(),
        (_, "timestamp with time zone") => "clock_timestamp()".to_owned(),
        (name, kind) => panic!("{table}.{name} is of type {kind}: say here what to put in"),
    };
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<_> = columns.iter().map(value).collect();
    let insert = format!(
        "insert into {table} ({}) values ({})",
        names.join(", "),
        values.join(", ")
    );
    sqlx::query(&insert).execute(tx).await.unwrap();
}

async fn become_reader(tx: &mut PgConnection, workspace: Option<WorkspaceId>) {
    let workspace = workspace.map(|w| w.to_string()).unwrap_or_default();
    sqlx::query(
        "select set_config('role', 'toolroom_reader', true),
                set_config('toolroom.workspace', $1, true)",
    )
    .bind(workspace)
    .execute(tx)
    .await
    .unwrap();
}

/// Whose rows a table shows that is asked for all.
async fn shown(tx: &mut PgConnection, table: &str) -> Vec<String> {
    let rows = format!("select to_jsonb(t.*) ->> 'workspace_id' from {table} t");
    sqlx::query_scalar(&rows).fetch_all(tx).await.unwrap()
}

#[tokio::test]
async fn each_table_shows_and_lets_change_nothing_of_others_even_if_all_is_granted() {
    let app = App::with(all()).await;
    app.reader().prepare().await.unwrap();
    let mut owner = app.owner.acquire().await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c where c.relrowsecurity order by 1",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    // Seven of the log, five read models with six tables.
    assert!(tables.len() >= 13, "{tables:?}");
    let (mine, theirs) = (
        WorkspaceId::from_uuid(ids::new_uuid()),
        WorkspaceId::from_uuid(ids::new_uuid()),
    );
    for table in tables {
        let mut tx = owner.begin().await.unwrap();
        fill(&mut tx, &table, mine).await;
        fill(&mut tx, &table, theirs).await;
        let grants = format!(
            "grant all on {table} to toolroom_reader;
             grant usage on schema operational to toolroom_reader"
        );
        sqlx::raw_sql(&grants).execute(&mut *tx).await.unwrap();

        become_reader(&mut tx, None).await;
        assert!(shown(&mut tx, &table).await.is_empty(), "{table}");
        become_reader(&mut tx, Some(mine)).await;
        let only = shown(&mut tx, &table).await;
        let is_mine = |id: &String| *id == mine.to_string() || *id == mine.uuid().to_string();
        assert!(
            only.len() == 1 && only.iter().all(is_mine),
            "{table}: {only:?}"
        );

        for change in [
            format!("update {table} set workspace_id = workspace_id"),
            format!("delete from {table}"),
            format!("insert into {table} select * from {table}"),
        ] {
            let mut savepoint = tx.begin().await.unwrap();
            let changed = sqlx::query(&change).execute(&mut *savepoint).await;
            assert!(
                changed
                    .as_ref()
                    .map_or(true, |done| done.rows_affected() == 0),
                "{change}: {changed:?}"
            );
            savepoint.rollback().await.unwrap();
        }
        tx.rollback().await.unwrap();
    }
    drop(owner);
    app.stop().await;
}

#[tokio::test]
async fn the_reader_has_no_way_around_its_policies() {
    let app = App::bare().await;
    let bounds: Vec<(String, bool)> = sqlx::query_as(
        "select rolname::text, rolsuper or rolbypassrls or rolcreaterole or rolcanlogin
         from pg_roles where rolname = any($1)",
    )
    .bind(ROLES.as_slice())
    .fetch_all(&app.owner)
    .await
    .unwrap();
    assert_eq!(bounds.len(), ROLES.len());
    assert!(bounds.iter().all(|(_, may)| !may), "{bounds:?}");
    let mut connection = app.owner.acquire().await.unwrap();
    let memberships: i64 = sqlx::query_scalar(
        "select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member
         where r.rolname = any($1)",
    )
    .bind(ROLES.as_slice())
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    assert_eq!(memberships, 0, "none has the rights of another");
    // As if it had logged in: what it may become is then its own.
    sqlx::query("set session authorization toolroom_reader")
        .execute(&mut *connection)
        .await
        .unwrap();
    for role in ROLES.iter().filter(|role| **role != READER) {
        let became = sqlx::query(&format!("set role {role}"))
            .execute(&mut *connection)
            .await;
        let error = became.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{role}: {error}");
    }
    sqlx::query("set row_security = off")
        .execute(&mut *connection)
        .await
        .unwrap();
    let error = sqlx::query("select from events")
        .execute(&mut *connection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    connection.close().await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn each_role_may_do_its_own_part_and_no_other() {
    let app = App::with(all()).await;
    app.reader().prepare().await.unwrap();
    let may = async |role: &str, right: &str, table: &str| -> bool {
        sqlx::query_scalar(
            "select has_table_privilege($1, $2, $3)
                and has_schema_privilege($1, (select relnamespace from pg_class
                                              where oid = $2::regclass), 'usage')",
        )
        .bind(role)
        .bind(table)
        .bind(right)
        .fetch_one(&app.owner)
        .await
        .unwrap()
    };
    for (role, right, table) in [
        (READER, "select", "projections.tools"),
        (COMMITTER, "insert", "events"),
        (COMMITTER, "update", "vault"),
        (SEQUENCER, "insert", "event_log"),
        (PROJECTOR, "delete", "projections.jobs"),
        (QUEUE, "update", "projections.queue"),
        (QUEUE, "delete", "operational.leases"),
        (QUEUE, "update", "operational.gates"),
    ] {
        assert!(may(role, right, table).await, "{role} {right} {table}");
    }
    for role in ROLES {
        for table in ["events", "event_log"] {
            for right in ["update", "delete", "truncate"] {
                assert!(!may(role, right, table).await, "{role} {right} {table}");
            }
        }
        for (owner, right, table) in [
            (COMMITTER, "insert", "events"),
            (COMMITTER, "select", "vault"),
            (COMMITTER, "select", "command_log"),
            (COMMITTER, "insert", "claims"),
            (SEQUENCER, "insert", "event_log"),
            (SEQUENCER, "update", "sequencer_state"),
            (PROJECTOR, "update", "checkpoints"),
            (PROJECTOR, "insert", "projections.tools"),
            (QUEUE, "select", "operational.leases"),
            (QUEUE, "update", "operational.gates"),
        ] {
            assert_eq!(
                may(role, right, table).await,
                role == owner,
                "{role} {right} {table}"
            );
        }
    }
    assert!(!may(AUTHENTICATOR, "select", "events").await);
    for role in ROLES {
        let makes: bool = sqlx::query_scalar("select has_schema_privilege($1, 'public', 'create')")
            .bind(role)
            .fetch_one(&app.owner)
            .await
            .unwrap();
        assert!(!makes, "{role}");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_requests_ask_is_found_by_the_indexes_under_the_policies() {
    let app = App::with(all()).await;
    app.reader().prepare().await.unwrap();
    let mut owner = app.owner.acquire().await.unwrap();
    let (mine, theirs) = (
        WorkspaceId::from_uuid(ids::new_uuid()),
        WorkspaceId::from_uuid(ids::new_uuid()),
    );
    let mut tx = owner.begin().await.unwrap();
    for table in ["projections.tools", "projections.jobs", "projections.audit"] {
        fill(&mut tx, table, mine).await;
        fill(&mut tx, table, theirs).await;
    }
    // So few rows are read through no index but for this.
    sqlx::query("set local enable_seqscan = off")
        .execute(&mut *tx)
        .await
        .unwrap();
    become_reader(&mut tx, Some(mine)).await;
    let own = mine.uuid();
    for (query, conditions) in [
        (
            format!(
                "select * from projections.jobs where workspace_id = '{own}'
                   and (created_at, id) < (now(), '{own}'::uuid)
                 order by created_at desc, id desc limit 50"
            ),
            &["workspace_id =", "ROW(created_at, id) <"][..],
        ),
        (
            format!(
                "select * from projections.tools where workspace_id = '{own}' and number > 3
                   and name ilike '%x%' order by number limit 50"
            ),
            &["workspace_id =", "number > 3"],
        ),
        (
            format!("select * from projections.tools where workspace_id = '{own}' and name = 'x'"),
            &["workspace_id =", "name = 'x'"],
        ),
        (
            format!(
                "select position from projections.audit where workspace_id = '{own}'
                   and actor = 'a' and position > position_before(now())
                 order by position limit 50"
            ),
            &["workspace_id =", "actor = 'a'", "\"position\" > "],
        ),
        (
            "select * from event_log where position = 7".to_owned(),
            &["\"position\" = 7"],
        ),
        (
            "select * from events where aggregate_type = 'job' and aggregate_id = 'x'".to_owned(),
            &["aggregate_type = 'job'", "aggregate_id = 'x'"],
        ),
    ] {
        let plan: Vec<String> = sqlx::query_scalar(&format!("explain (costs off) {query}"))
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        let found: Vec<_> = plan
            .iter()
            .filter(|line| line.contains("Index Cond"))
            .collect();
        for condition in conditions {
            assert!(
                found.iter().any(|line| line.contains(condition)),
                "{condition} is no condition of an index: {plan:#?}"
            );
        }
        assert!(!plan.iter().any(|line| line.contains("Sort")), "{plan:#?}");
    }
    tx.rollback().await.unwrap();
    drop(owner);
    app.stop().await;
}
