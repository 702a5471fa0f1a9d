//! Which tables the requests reach: those that a side reads or writes.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Finding;
use crate::postgres::catalog::TableName;
use crate::postgres::database::close;
use crate::postgres::written::Point;
use crate::side::Side;
use crate::subject::TableRef;

/// How often the tables of a database were read or written, as the server counts it.
#[derive(Debug)]
pub(super) struct Reach(BTreeMap<TableName, i64>);

impl Reach {
    /// What was counted until now. What this session does from now on is not counted.
    ///
    /// `None` where nobody can tell when that is complete: before Postgres 15, and without a superuser.
    ///
    /// # Errors
    /// Where the statistics cannot be read.
    pub(super) async fn begin(conn: &mut PgConnection) -> Result<Option<Self>> {
        let told = "select rolsuper and current_setting('server_version_num')::int >= 150000
            from pg_catalog.pg_roles where rolname = current_user";
        if !sqlx::query_scalar(told).fetch_one(&mut *conn).await? {
            return Ok(None);
        }
        not_counted(conn).await?;
        Self::now(conn).await.map(Some)
    }

    async fn now(conn: &mut PgConnection) -> Result<Self> {
        let sql =
            "select schemaname::text, relname::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
                + n_tup_ins + n_tup_upd + n_tup_del
            from pg_catalog.pg_stat_user_tables";
        let rows = sqlx::query(sql).fetch_all(conn).await?;
        let tables = rows.iter().map(|row| {
            let name = TableName::new(row.get::<String, _>(0), row.get::<String, _>(1));
            (name, row.get(2))
        });
        Ok(Self(tables.collect()))
    }

    /// How often a table was reached since.
    fn since(&self, before: &Self, table: &TableName) -> i64 {
        let of = |all: &Self| all.0.get(table).copied().unwrap_or(0);
        of(self) - of(before)
    }
}

/// Has the server not count what this session does.
///
/// # Errors
/// Without a superuser.
pub(super) async fn not_counted(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("set track_counts = off").execute(conn).await?;
    Ok(())
}

/// The tables with rows that the requests to the previous release reached, and those to the candidate did not.
/// It ends the sessions of the services: the side is not asked any more.
///
/// # Errors
/// Where the statistics cannot be read.
pub(super) async fn judge(
    cx: &UpgradeContext,
    before: &[Reach; 3],
    candidate: &Point,
) -> Result<Vec<Finding>> {
    let mut all = Vec::new();
    for side in Side::ALL {
        all.push(at(cx, side).await?);
    }
    let mut findings = Vec::new();
    for (table, count) in candidate.counts() {
        let times = all.iter().zip(before);
        let times: Vec<i64> = times
            .map(|(now, before)| now.since(before, table))
            .collect();
        if let [old, again, 0] = times[..]
            && old > 0
            && again > 0
            && count > 0
        {
            let message = format!(
                "it holds rows ({count}), and the requests to the candidate neither read nor write any"
            );
            let evidence = format!(
                "scans and writes, baseline: {old}\nscans and writes, secondary: {again}\nscans and writes, candidate: 0"
            );
            let table = TableRef::new(table.to_string());
            let finding = Finding::warning("api/rows-unreached", table, message);
            findings.push(finding.with_evidence(evidence));
        }
    }
    Ok(findings)
}

/// A session counts at its end, or once a second (`pgstat_report_stat` of Postgres): hence all end.
async fn at(cx: &UpgradeContext, side: Side) -> Result<Reach> {
    const END: &str = "select pg_catalog.pg_terminate_backend(pid, 5000)
        from pg_catalog.pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let cx = cx.at_side(side)?;
    let mut conn = cx.connect().await?;
    let reading = async {
        sqlx::query(END).execute(&mut conn).await?;
        Reach::now(&mut conn).await
    };
    let reach = cx.bounded("read what was reached", reading).await?;
    close(conn).await;
    reach
}
