//! What the login role of a database must be allowed, found out before it is missed.
//!
//! The server works as [`APP_ROLE`], which the login role becomes after it has connected; the login
//! role itself owns the tables and migrates them. It need be no superuser.

use sqlx::{PgPool, Row as _};

use crate::database::APP_ROLE;

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
                app.oid is not null as app_exists,
                coalesce(pg_has_role(app.oid, case when modern then 'set' else 'member' end), false)
                    as may_become_app,
                coalesce(pg_has_role(app.oid, 'usage'), false) as inherits_app,
                me.rolsuper or (not modern and me.rolcreaterole)
                    or coalesce(pg_has_role(app.oid, 'member with admin option'), false)
                    as may_grant_app,
                pg_has_role(d.datdba, 'usage') as owns_database,
                to_regnamespace('projections') is not null
                    or has_database_privilege(d.oid, 'create') as has_schemas,
                has_schema_privilege('public', 'create') as may_create_tables,
                (select format('%I', owner.rolname)
                 from pg_class c join pg_roles owner on owner.oid = c.relowner
                 where c.oid = to_regclass('public.events') and not pg_has_role(owner.oid, 'usage'))
                    as other_owner
         from pg_roles me
         cross join (select current_setting('server_version_num')::int >= 160000) v (modern)
         join pg_database d on d.datname = current_database()
         left join pg_roles app on app.rolname = $1
         where me.rolname = current_user",
    )
    .bind(APP_ROLE)
    .fetch_one(pool)
    .await?;
    let (me, database): (&str, &str) = (row.get("me"), row.get("database"));
    let has = |right: &str| row.get::<bool, _>(right);
    let mut lacks = Vec::new();
    let mut lack = |what: String, mend: String| lacks.push(Lack { what, mend });

    let grant = if has("modern") {
        format!("grant {APP_ROLE} to {me} with inherit true, set true;")
    } else {
        format!("grant {APP_ROLE} to {me};")
    };
    if !has("app_exists") && !has("may_create_role") {
        lack(
            format!("the role {APP_ROLE} is not there, and {me} may create none"),
            format!("create role {APP_ROLE} nologin; {grant}"),
        );
    } else if has("app_exists")
        && !has("may_grant_app")
        && !(has("may_become_app") && (has("inherits_app") || !has("modern")))
    {
        lack(
            format!("{me} may not become {APP_ROLE}, or does not inherit its rights"),
            grant,
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
