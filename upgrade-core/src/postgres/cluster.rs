//! Objects of the whole server: roles, tablespaces, replication slots, databases. No copy of a
//! database holds them, so putting a database back leaves them.

use std::collections::BTreeSet;
use std::fmt;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::database::UNFINISHED_LIMIT;
use super::sql::{quote_ident, quote_literal};
use crate::error::{Error, ErrorKind, Result};

/// The library's own databases are left out; so are the server's own roles.
const OBJECTS: &str = "
    select 'role', rolname::text from pg_catalog.pg_roles where rolname !~ '^pg_'
    union all select 'tablespace', spcname::text from pg_catalog.pg_tablespace
    union all select 'replication slot', slot_name::text from pg_catalog.pg_replication_slots
        where not temporary
    union all select 'database', datname::text from pg_catalog.pg_database
        where not datistemplate and datconnlimit <> $1 and datname not like all ($2)
            and coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') not like 'upgrade:%'";

/// One object of the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClusterObject {
    kind: String,
    name: String,
}

impl fmt::Display for ClusterObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// What is on the server. `live` is a database of ours, which is none of that, nor are those that
/// are named after it.
pub(crate) async fn objects(
    session: &mut PgConnection,
    live: &str,
) -> Result<BTreeSet<ClusterObject>> {
    let own = live
        .replace('\\', r"\\")
        .replace('_', r"\_")
        .replace('%', r"\%");
    let asked = sqlx::query_as(OBJECTS)
        .bind(UNFINISHED_LIMIT)
        .bind(vec![r"upgrade\_%".to_owned(), format!("{own}%")])
        .fetch_all(session)
        .await;
    list(asked)
}

fn list(asked: Result<Vec<(String, String)>, sqlx::Error>) -> Result<BTreeSet<ClusterObject>> {
    let found = asked.map_err(|source| {
        Error::new(
            ErrorKind::Database,
            "the roles, tablespaces, slots and databases of the server could not be listed",
        )
        .with_source(source)
    })?;
    let found = found.into_iter();
    Ok(found
        .map(|(kind, name)| ClusterObject { kind, name })
        .collect())
}

/// The objects that one database uses or owns. Where others use the server too, only of these
/// objects is it known who made them.
const USED: &str = "
    select 'role', r.rolname::text
    from pg_catalog.pg_shdepend d
    join pg_catalog.pg_database b on b.oid = d.dbid
    join pg_catalog.pg_roles r on d.refclassid = 'pg_catalog.pg_authid'::regclass and r.oid = d.refobjid
    where b.datname = $1
    union select 'replication slot', slot_name::text from pg_catalog.pg_replication_slots
    where database = $1";

/// What came since `before`; where the server is not ours alone, what `live` uses of that.
pub(crate) async fn new_objects(
    session: &mut PgConnection,
    live: &str,
    before: &BTreeSet<ClusterObject>,
    is_ours_alone: bool,
) -> Result<BTreeSet<ClusterObject>> {
    let mut found = objects(session, live).await?;
    found.retain(|object| !before.contains(object));
    if !is_ours_alone && !found.is_empty() {
        let used = list(sqlx::query_as(USED).bind(live).fetch_all(session).await)?;
        found.retain(|object| used.contains(object));
    }
    Ok(found)
}

/// Removes what came since `before`, so that the migration that made it can make it again. What
/// something else depends on stays, and so does what is in use.
pub(crate) async fn remove_new(
    session: &mut PgConnection,
    live: &str,
    before: &BTreeSet<ClusterObject>,
) -> Result<()> {
    for object in new_objects(session, live, before, true).await? {
        let name = quote_ident(&object.name);
        let sql = match object.kind.as_str() {
            "replication slot" => format!(
                "select pg_catalog.pg_drop_replication_slot({})",
                quote_literal(&object.name)
            ),
            kind => format!("drop {kind} {name}"),
        };
        if let Err(error) = session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await {
            tracing::warn!(%object, %error, "an object of the server that a migration made stays");
        }
    }
    Ok(())
}
