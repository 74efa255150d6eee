//! What the login role of a database must be allowed, found out before it is missed.
//!
//! The server works as [`ROLES`], which the login role becomes after it has connected; the login
//! role itself owns the tables and migrates them. It need be no superuser, but must inherit what it
//! may become: the policies of row-level security hold for the owner of a table too.

use sqlx::{PgPool, Row as _};

use crate::database::{FORMER_ROLE, PROJECTOR, ROLES};

/// A right that the login role lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Who may not do what.
    pub what: String,
    /// The SQL with which an administrator mends it.
    pub mend: String,
}

/// What `pool`'s login role lacks to migrate its database and to serve on it; nothing when all is
/// well.
///
/// # Errors
/// When the database does not answer.
pub async fn lacking(pool: &PgPool) -> Result<Vec<Lack>, sqlx::Error> {
    let row = sqlx::query(
        "select format('%I', me.rolname) as me, format('%I', d.datname) as database, modern,
                me.rolsuper or me.rolcreaterole as may_create_role,
                me.rolsuper or me.rolinherit as inherits,
                pg_has_role(d.datdba, 'usage') as owns_database,
                -- the migrations make the schemas, or give them to their roles
                has_database_privilege(d.oid, 'create') or exists (
                    select from pg_namespace n join pg_roles o on o.oid = n.nspowner
                    where n.nspname = 'projections' and o.rolname = $1) as has_schemas,
                has_schema_privilege('public', 'create') as may_create_tables,
                (select format('%I', owner.rolname)
                 from pg_class c join pg_roles owner on owner.oid = c.relowner
                 where c.oid = to_regclass('public.events') and not pg_has_role(owner.oid, 'usage'))
                    as other_owner,
                to_regprocedure('public.isolate(regclass)') is null as is_former
         from pg_roles me
         cross join (select current_setting('server_version_num')::int >= 160000) v (modern)
         join pg_database d on d.datname = current_database()
         where me.rolname = current_user",
    )
    .bind(PROJECTOR)
    .fetch_one(pool)
    .await?;
    let (me, database): (&str, &str) = (row.get("me"), row.get("database"));
    let has = |right: &str| row.get::<bool, _>(right);
    let mut lacks = Vec::new();
    let mut lack = |what: String, mend: String| lacks.push(Lack { what, mend });

    let mut needed = ROLES.to_vec();
    if has("is_former") {
        needed.push(FORMER_ROLE);
    }
    let roles = needed_roles(pool, &needed).await?;
    if !roles.absent.is_empty() && !has("may_create_role") {
        let creations: Vec<_> = roles
            .absent
            .iter()
            .map(|role| format!("create role {role} nologin;"))
            .collect();
        lack(
            format!(
                "the roles {} are not there, and {me} may create none",
                roles.absent.join(", ")
            ),
            creations.join(" "),
        );
    }
    let mut ungranted = roles.ungranted;
    if !has("may_create_role") {
        ungranted.extend(roles.absent);
    }
    if !ungranted.is_empty() {
        let how = if has("modern") {
            " with inherit true, set true"
        } else {
            ""
        };
        let ungranted = ungranted.join(", ");
        lack(
            format!("{me} may not become {ungranted}, or does not inherit their rights"),
            format!("grant {ungranted} to {me}{how};"),
        );
    }
    if !has("modern") && !has("inherits") {
        lack(
            format!("{me} does not inherit the rights of the roles that it is granted"),
            format!("alter role {me} inherit;"),
        );
    }
    let may_create = has("has_schemas") && has("may_create_tables");
    if !may_create && !has("owns_database") {
        lack(
            format!("{me} does not own the database {database}"),
            format!("alter database {database} owner to {me};"),
        );
    } else if !has("may_create_tables") {
        lack(
            format!("{me} may create no tables in the schema public of {database}"),
            format!("grant create on schema public to {me};"),
        );
    }
    if let Some(owner) = row.get::<Option<&str>, _>("other_owner") {
        lack(
            format!("the tables belong to {owner}, whose rights {me} does not have"),
            format!("grant {owner} to {me};"),
        );
    }
    Ok(lacks)
}

/// Of the roles that are needed, those that the migrations cannot see to themselves.
struct NeededRoles {
    absent: Vec<String>,
    ungranted: Vec<String>,
}

async fn needed_roles(pool: &PgPool, needed: &[&str]) -> Result<NeededRoles, sqlx::Error> {
    let rows = sqlx::query(
        "select n.name, r.oid is null as is_absent
         from unnest($1::text[]) with ordinality as n (name, place)
         cross join pg_roles me
         cross join (select current_setting('server_version_num')::int >= 160000) v (modern)
         left join pg_roles r on r.rolname = n.name
         where me.rolname = current_user
           and (r.oid is null or not (
               me.rolsuper or (not modern and me.rolcreaterole)
               or pg_has_role(r.oid, 'member with admin option')
               or (pg_has_role(r.oid, case when modern then 'set' else 'member' end)
                   and (not modern or pg_has_role(r.oid, 'usage')))))
         order by n.place",
    )
    .bind(needed)
    .fetch_all(pool)
    .await?;
    let (absent, ungranted): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.get::<bool, _>("is_absent"));
    let names =
        |rows: Vec<&sqlx::postgres::PgRow>| rows.iter().map(|row| row.get("name")).collect();
    Ok(NeededRoles {
        absent: names(absent),
        ungranted: names(ungranted),
    })
}
