//! What would make the server refuse to copy or rename a database, asked before sessions are
//! ended.

use sqlx::postgres::PgConnection;

use super::Database;
use crate::error::{Error, ErrorKind, Result};

/// Each row: what is in the way, and what to do about it.
const SQL: &str = "\
with db as (select oid, datname, datdba from pg_catalog.pg_database where datname = $1), \
me as (select oid, rolname, rolsuper, rolcreatedb from pg_catalog.pg_roles \
    where rolname = current_user), \
found as ( \
    select 1 as rank, format('role %I may neither make nor rename databases', rolname) as what, \
        format('`alter role %I createdb`', rolname) as hint \
    from me where not rolsuper and not rolcreatedb \
    union all \
    select 2, format('role %I does not own it', rolname), \
        format('`grant %I to %I`', pg_catalog.pg_get_userbyid(datdba), rolname) \
    from me, db where not rolsuper and not pg_catalog.pg_has_role(datdba, 'usage') \
    union all \
    select 3, format('role %I may not end the session of role %I (process %s)', \
            me.rolname, a.usename, a.pid), \
        case when u.rolsuper then 'end that session; only a superuser may' \
            else format('end that session, or `grant pg_signal_backend to %I`', me.rolname) end \
    from me, db join pg_catalog.pg_stat_activity a on a.datid = db.oid \
        join pg_catalog.pg_roles u on u.oid = a.usesysid \
    where a.pid <> pg_catalog.pg_backend_pid() and not me.rolsuper \
        and (u.rolsuper or not (pg_catalog.pg_has_role(u.oid, 'usage') \
            or pg_catalog.pg_has_role('pg_signal_backend', 'usage'))) \
    union all \
    select 4, format('prepared transaction %L is open in it', p.gid), \
        'commit it or roll it back, with `commit prepared` or `rollback prepared`' \
    from db join pg_catalog.pg_prepared_xacts p on p.database = db.datname \
    union all \
    select 5, format('subscription %I belongs to it and would not follow', s.subname), \
        'disable and drop it, and make it again afterwards' \
    from db join pg_catalog.pg_subscription s on s.subdbid = db.oid \
    union all \
    select 6, format('logical replication slot %I belongs to it and would not follow', s.slot_name), \
        'have its reader catch up and leave, then drop it' \
    from db join pg_catalog.pg_replication_slots s on s.database = db.datname \
    where not s.temporary and $2 \
) \
select what || ' (' || hint || ')' from found order by rank, what";

impl Database {
    /// Refuses where the server would not let this database be copied or renamed, whatever
    /// sessions are ended: missing rights, sessions that the role may not end, prepared
    /// transactions, subscriptions. With `slots` also where a logical replication slot would stay
    /// with the old database.
    pub(crate) async fn refuse_obstacles(
        &self,
        admin: &mut PgConnection,
        act: &str,
        slots: bool,
    ) -> Result<()> {
        let found: Vec<String> = sqlx::query_scalar(SQL)
            .bind(self.name())
            .bind(slots)
            .fetch_all(admin)
            .await
            .map_err(|source| self.failed("look for obstacles in", source))?;
        if found.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "database `{}` cannot be {act}, nothing was changed and no session was ended: {}",
                self.name(),
                found.join("; ")
            ),
        ))
    }
}
