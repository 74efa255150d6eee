//! What the database tells.

use sqlx::{PgPool, Row as _};
use toolroom_eventlog::{
    Vault,
    database::{COMMITTER, PROJECTOR, READER, ROLES},
    rights,
    vault::Rotation,
};

use super::Findings;
use crate::{config::Config, database::Access, master_key};

/// `create database … strategy wal_log`, and what else the SQL needs.
const OLDEST_VERSION: i32 = 150_000;

/// A transaction that is open this long keeps every follower waiting.
const HORIZON_LIMIT_S: f64 = 10.0;

/// A follower this many events behind does not keep up, or does not run.
const LAG_LIMIT: i64 = 10_000;

pub(super) async fn look(config: &Config, access: &Access, findings: &mut Findings) {
    let pool = match access.pool().await {
        Ok(pool) => pool,
        Err(error) => {
            findings.fault(
                "database",
                format_args!("{error:#}"),
                "start the database, or correct DATABASE_URL",
            );
            return;
        }
    };
    if let Err(error) = look_closer(config, &pool, findings).await {
        findings.fault(
            "database",
            format_args!("it does not answer what it is asked: {error}"),
            "run `toolroom migrate`; if that does not help, the message says what is wrong",
        );
    }
    pool.close().await;
}

async fn look_closer(
    config: &Config,
    pool: &PgPool,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    server(pool, findings).await?;
    rights(pool, findings).await?;
    if !migrations(pool, findings).await? {
        return Ok(());
    }
    roles(pool, findings).await?;
    cluster(pool, findings).await?;
    horizon(pool, findings).await?;
    followers(pool, findings).await?;
    vault(config, pool, findings).await
}

async fn server(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::int as number,
                current_setting('server_version') as version,
                current_setting('synchronous_commit') as commit,
                current_setting('fsync') as fsync, current_setting('server_encoding') as encoding",
    )
    .fetch_one(pool)
    .await?;
    let version: &str = row.get("version");
    if row.get::<i32, _>("number") < OLDEST_VERSION {
        findings.fault(
            "version",
            format_args!("PostgreSQL {version}"),
            "move to PostgreSQL 15 or newer",
        );
    } else {
        findings.good("version", format_args!("PostgreSQL {version}"));
    }
    let encoding: &str = row.get("encoding");
    if encoding != "UTF8" {
        findings.fault(
            "encoding",
            encoding,
            "create the database with encoding UTF8",
        );
    }
    let (commit, fsync): (&str, &str) = (row.get("commit"), row.get("fsync"));
    if commit == "off" || fsync == "off" {
        findings.fault(
            "durability",
            format_args!("synchronous_commit is {commit}, fsync is {fsync}: a crash loses what was acknowledged"),
            "set both to on",
        );
    } else {
        findings.good("durability", "fsync and synchronous_commit are on");
    }
    Ok(())
}

/// What an administrator must grant before anything is migrated.
async fn rights(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let lacks = rights::lacking(pool).await?;
    for lack in &lacks {
        findings.fault(
            "rights",
            &lack.what,
            format_args!("as an administrator of the database: {}", lack.mend),
        );
    }
    if lacks.is_empty() {
        findings.good(
            "rights",
            "the role of the connection may do what the server needs",
        );
    }
    Ok(())
}

/// Whether there is anything more to look at.
async fn migrations(pool: &PgPool, findings: &mut Findings) -> Result<bool, sqlx::Error> {
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null")
            .fetch_one(pool)
            .await?;
    if !migrated {
        findings.fault(
            "migrations",
            "none was applied",
            "run `toolroom migrate`, or start the server",
        );
        return Ok(false);
    }
    let row = sqlx::query(
        "select max(version) as last, bool_and(success) as success from _sqlx_migrations",
    )
    .fetch_one(pool)
    .await?;
    let last: Option<i64> = row.get("last");
    let known = toolroom_eventlog::database::last_migration();
    match last {
        Some(last) if last == known && row.get::<Option<bool>, _>("success") == Some(true) => {
            findings.good("migrations", format_args!("up to date ({last})"));
            Ok(true)
        }
        Some(last) if last > known => {
            findings.fault(
                "migrations",
                format_args!("the database is at {last}, this toolroom knows only {known}"),
                "use a toolroom as new as the one that migrated it",
            );
            Ok(true)
        }
        last => {
            findings.fault(
                "migrations",
                format_args!(
                    "the database is at {}, {known} is needed",
                    last.unwrap_or_default()
                ),
                "run `toolroom migrate`, or start the server",
            );
            Ok(false)
        }
    }
}

async fn roles(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "select has_table_privilege($2, 'events', 'select, insert')
                    and has_table_privilege($1, 'events', 'select')
                    and has_schema_privilege($3, 'projections', 'create') as may_work,
                (select string_agg(r.rolname, ', ' order by r.rolname) from pg_roles r
                 where r.rolname = any($4)
                   and (has_table_privilege(r.oid, 'events', 'update')
                        or has_table_privilege(r.oid, 'events', 'delete')
                        or has_table_privilege(r.oid, 'events', 'truncate'))) as changers,
                (select string_agg(r.rolname, ', ' order by r.rolname) from pg_roles r
                 where r.rolname = any($4) and (r.rolsuper or r.rolbypassrls)) as unbounded,
                (select string_agg(format('%I', g.rolname), ', ' order by g.rolname)
                 from pg_auth_members m
                 join pg_roles r on r.oid = m.member
                 join pg_roles g on g.oid = m.roleid
                 where r.rolname = $1) as granted_to_reader,
                (select string_agg(c.oid::regclass::text, ', ' order by c.oid) from pg_class c
                 where c.relkind in ('r', 'p')
                   and c.relnamespace in ('public'::regnamespace, 'projections'::regnamespace)
                   and has_table_privilege($1, c.oid, 'select')
                   and not (c.relrowsecurity and c.relforcerowsecurity)) as open_tables,
                (select count(*) from pg_trigger
                 where tgrelid in ('events'::regclass, 'event_log'::regclass)
                   and not tgisinternal and tgenabled = 'O') as guards",
    )
    .bind(READER)
    .bind(COMMITTER)
    .bind(PROJECTOR)
    .bind(ROLES.as_slice())
    .fetch_one(pool)
    .await?;
    let mut sound = true;
    let mut fault = |words: String, mend: String| {
        sound = false;
        findings.fault("roles", words, mend);
    };
    if !row.get::<bool, _>("may_work") {
        fault(
            "the server's roles lack rights that the migrations gave them".to_owned(),
            format!(
                "grant select, insert on events to {COMMITTER}; grant select on events to {READER}; alter schema projections owner to {PROJECTOR};"
            ),
        );
    }
    let told = |column: &str| row.get::<Option<String>, _>(column);
    if let Some(roles) = told("changers") {
        fault(
            format!("{roles} may change the log"),
            format!("revoke update, delete, truncate on events from {roles};"),
        );
    }
    if let Some(roles) = told("unbounded") {
        let mend: Vec<_> = roles
            .split(", ")
            .map(|role| format!("alter role {role} nosuperuser nobypassrls;"))
            .collect();
        fault(
            format!("{roles} may see every workspace's rows, whatever the policies say"),
            mend.join(" "),
        );
    }
    if let Some(granted) = told("granted_to_reader") {
        fault(
            format!("{READER} has the rights of {granted}, and so may see more than one workspace"),
            format!("revoke {granted} from {READER};"),
        );
    }
    if let Some(tables) = told("open_tables") {
        fault(
            format!("{READER} may read all rows of {tables}: row-level security is off"),
            format!(
                "for each of them: alter table … enable row level security, force row level security; if it has no policies, revoke select on it from {READER}"
            ),
        );
    }
    if row.get::<i64, _>("guards") != 4 {
        fault(
            "the triggers that keep the log append-only are off".to_owned(),
            "alter table events enable trigger user; alter table event_log enable trigger user; and then `toolroom verify`".to_owned(),
        );
    }
    if sound {
        findings.good(
            "roles",
            "the log may be appended to and not changed, and requests see one workspace each",
        );
    }
    Ok(())
}

async fn cluster(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let same: bool = sqlx::query_scalar(
        "select s.system_identifier = c.system_identifier from sequencer_state s, pg_control_system() c",
    )
    .fetch_one(pool)
    .await?;
    if same {
        findings.good("cluster", "the log was written in this cluster");
    } else {
        findings.fault(
            "cluster",
            "the log comes from another cluster, and was not taken up here yet",
            "run `toolroom migrate`, or start the server",
        );
    }
    Ok(())
}

async fn horizon(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8 as age_s,
                (array_agg(pid order by xact_start))[1] as pid,
                pg_has_role('pg_read_all_stats', 'usage') as sees_all,
                format('%I', current_user) as me
         from pg_stat_activity
         where backend_xid is not null and pid <> pg_backend_pid()",
    )
    .fetch_one(pool)
    .await?;
    let age: f64 = row.get("age_s");
    if age > HORIZON_LIMIT_S {
        let pid: Option<i32> = row.get("pid");
        findings.fault(
            "horizon",
            format_args!("a transaction of this cluster has been writing for {age:.0} s: nothing newer is sequenced"),
            format_args!(
                "end it: select pg_terminate_backend({});",
                pid.unwrap_or_default()
            ),
        );
    } else if row.get("sees_all") {
        findings.good("horizon", format_args!("{age:.1} s"));
    } else {
        let me: &str = row.get("me");
        findings.good(
            "horizon",
            format_args!(
                "{age:.1} s among the role's own transactions; to see others' too: grant pg_read_all_stats to {me};"
            ),
        );
    }
    let prepared: i64 = sqlx::query_scalar("select count(*) from pg_prepared_xacts")
        .fetch_one(pool)
        .await?;
    if prepared > 0 {
        findings.fault(
            "horizon",
            format_args!("{prepared} prepared transactions hold it until they are ended"),
            "commit or roll back what pg_prepared_xacts shows",
        );
    }
    Ok(())
}

async fn followers(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "select c.follower, s.position - c.position as lag,
                (select count(*) from dead_letters d where d.follower = c.follower and d.error is not null) as dead
         from checkpoints c, sequencer_state s order by c.follower",
    )
    .fetch_all(pool)
    .await?;
    for row in rows {
        let (follower, lag, dead): (&str, i64, i64) =
            (row.get("follower"), row.get("lag"), row.get("dead"));
        if dead > 0 {
            findings.fault(
                "projections",
                format_args!("{follower} could not apply {dead} events"),
                "the query `deadLetters` shows them; mend the cause, then `retryDeadLetter`",
            );
        }
        if lag > LAG_LIMIT {
            findings.fault(
                "projections",
                format_args!("{follower} is {lag} events behind"),
                "start the server if none runs; else its log tells what holds it",
            );
        } else {
            findings.good(
                "projections",
                format_args!("{follower} is {lag} events behind"),
            );
        }
    }
    Ok(())
}

async fn vault(config: &Config, pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    if !master_key::is_in_use(pool).await? {
        return Ok(());
    }
    match master_key::known(config).await {
        Ok(Some(key)) => match Vault::new(pool.clone(), key).digest_key().await {
            Ok(_) => findings.good("vault", "opens with the master key"),
            Err(error) => findings.fault(
                "vault",
                error,
                "put the right key back, from where you keep it",
            ),
        },
        Ok(None) => findings.fault(
            "vault",
            "it holds keys that only the master key opens, and that is missing",
            "put it back, or name it with `master_key_file`",
        ),
        // Told already.
        Err(_) => {}
    }
    rotation(pool, findings).await
}

async fn rotation(pool: &PgPool, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let about = "rotation of the master key";
    let Some(rotation) = Rotation::newest(pool).await? else {
        return Ok(());
    };
    match (rotation.finished_at, rotation.problem) {
        (None, Some(problem)) => findings.fault(
            about,
            problem,
            "the running servers go on by themselves once that is mended",
        ),
        (None, None) => findings.good(
            about,
            format_args!("{} of {} wrapped", rotation.done, rotation.total),
        ),
        (Some(at), _) => findings.good(about, format_args!("ended {at}")),
    }
    Ok(())
}
