//! Roles, which belong to a server and not to a database.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::error::Result;

/// One statement for each role, membership and setting of the roles that `$1` does not name. The
/// password goes along as the server keeps it, where the role that asks may see it.
const STATEMENTS: &str = "\
with missing as ( \
    select r.*, case when has_table_privilege('pg_catalog.pg_authid', 'select') \
        then (xpath('/row/p/text()', query_to_xml(format( \
            'select rolpassword as p from pg_catalog.pg_authid where oid = %s', r.oid), \
            false, true, '')))[1]::text end as password \
    from pg_roles r \
    where r.rolname <> all ($1) and r.rolname !~ '^pg_' \
), statements as ( \
    select 1 as step, rolname::text as name, format( \
        'create role %I %s %s %s %s %s %s %s connection limit %s%s%s', rolname, \
        case when rolsuper then 'superuser' else 'nosuperuser' end, \
        case when rolinherit then 'inherit' else 'noinherit' end, \
        case when rolcreaterole then 'createrole' else 'nocreaterole' end, \
        case when rolcreatedb then 'createdb' else 'nocreatedb' end, \
        case when rolcanlogin then 'login' else 'nologin' end, \
        case when rolreplication then 'replication' else 'noreplication' end, \
        case when rolbypassrls then 'bypassrls' else 'nobypassrls' end, \
        rolconnlimit, ' password ' || quote_literal(password), \
        ' valid until ' || quote_literal(rolvaliduntil::text)) as statement \
    from missing \
    union all \
    select 2, m.rolname, format('grant %I to %I%s', g.rolname, m.rolname, \
        coalesce(' with ' || nullif(concat_ws(', ', \
            case when a.admin_option then 'admin option' end, \
            case when to_jsonb(a) ->> 'inherit_option' = 'false' then 'inherit false' end, \
            case when to_jsonb(a) ->> 'set_option' = 'false' then 'set false' end), ''), '')) \
    from pg_auth_members a \
    join missing m on m.oid = a.member \
    join pg_roles g on g.oid = a.roleid \
    union all \
    select 3, m.rolname, format('alter role %I set %I to %s', m.rolname, pair[1], \
        case when pair[1] in ('search_path', 'temp_tablespaces', 'local_preload_libraries', \
            'session_preload_libraries', 'shared_preload_libraries', 'unix_socket_directories') \
        then pair[2] else quote_literal(pair[2]) end) \
    from pg_db_role_setting s \
    join missing m on m.oid = s.setrole and s.setdatabase = 0 \
    cross join unnest(s.setconfig) as setting \
    cross join lateral regexp_match(setting, '^([^=]+)=(.*)$') as pair \
) \
select statement from statements order by step, name, statement";

/// Makes the roles of one server that another one lacks; says how many. Those that are there stay
/// as they are, the superuser among them.
pub(super) async fn copy(from: &mut PgConnection, to: &mut PgConnection) -> Result<()> {
    let there: Vec<String> = sqlx::query_scalar("select rolname::text from pg_roles")
        .fetch_all(&mut *to)
        .await?;
    let statements: Vec<String> = sqlx::query_scalar(STATEMENTS)
        .bind(there)
        .fetch_all(from)
        .await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *to)
            .await?;
    }
    Ok(())
}
