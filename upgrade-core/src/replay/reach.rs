//! Which tables the requests reach: those that a side reads or writes.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{PgConnection, Row as _};
use tokio::time::{Instant, sleep};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Finding;
use crate::postgres::catalog::TableName;
use crate::postgres::database::close;
use crate::postgres::written::Point;
use crate::side::Side;
use crate::subject::TableRef;

/// How long a session may be idle before the server counts what it did: 10 s, see `PGSTAT_IDLE_INTERVAL` in
/// `pgstat.c` of Postgres 15 and later.
const COUNTED: Duration = Duration::from_secs(12);
/// How long it is waited between two looks at that.
const PAUSE: Duration = Duration::from_millis(250);

/// How often the tables of a database were read or written, as the server counts it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach(BTreeMap<TableName, i64>);

impl Reach {
    /// What was counted until now, this session included; `None` before Postgres 15, where nobody knows when
    /// that is complete.
    ///
    /// # Errors
    /// Where the statistics cannot be read.
    pub(super) async fn now(conn: &mut PgConnection) -> Result<Option<Self>> {
        let known = "select to_regproc('pg_catalog.pg_stat_force_next_flush') is not null";
        let known: bool = sqlx::query_scalar(known).fetch_one(&mut *conn).await?;
        if !known {
            return Ok(None);
        }
        sqlx::query("select pg_catalog.pg_stat_force_next_flush()")
            .execute(&mut *conn)
            .await?;
        let sql =
            "select schemaname::text, relname::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
                + n_tup_ins + n_tup_upd + n_tup_del
            from pg_catalog.pg_stat_user_tables";
        let rows = sqlx::query(sql).fetch_all(conn).await?;
        let tables = rows.iter().map(|row| {
            let name = TableName::new(row.get::<String, _>(0), row.get::<String, _>(1));
            (name, row.get(2))
        });
        Ok(Some(Self(tables.collect())))
    }

    /// How often a table was reached since.
    fn since(&self, before: &Self, table: &TableName) -> i64 {
        let of = |all: &Self| all.0.get(table).copied().unwrap_or(0);
        of(self) - of(before)
    }
}

/// The tables with rows that the requests to the previous release reached, and those to the candidate did not.
///
/// # Errors
/// Where the statistics cannot be read.
pub(super) async fn judge(
    cx: &UpgradeContext,
    before: &[Reach; 3],
    candidate: &Point,
) -> Result<Vec<Finding>> {
    let [Some(baseline), Some(secondary)] = [
        at(cx, Side::Baseline).await?,
        at(cx, Side::Secondary).await?,
    ] else {
        return Ok(Vec::new());
    };
    let mut used: Vec<(&TableName, u64, [i64; 2])> = Vec::new();
    for (table, count) in candidate.counts() {
        let times = [
            baseline.since(&before[0], table),
            secondary.since(&before[1], table),
        ];
        if count > 0 && times.iter().all(|times| *times > 0) {
            used.push((table, count, times));
        }
    }
    let until = Instant::now() + COUNTED;
    while !used.is_empty() {
        let Some(candidate) = at(cx, Side::Candidate).await? else {
            return Ok(Vec::new());
        };
        used.retain(|(table, ..)| candidate.since(&before[2], table) == 0);
        if Instant::now() >= until {
            break;
        }
        cx.bounded("wait until the server has counted", sleep(PAUSE))
            .await?; // poll
    }
    let finding = |(table, count, [old, again]): (&TableName, u64, [i64; 2])| {
        let message = format!(
            "it holds rows ({count}), and the requests to the candidate neither read nor write any"
        );
        let evidence = format!(
            "scans and writes, baseline: {old}\nscans and writes, secondary: {again}\nscans and writes, candidate: 0"
        );
        Finding::warning(
            "api/rows-unreached",
            TableRef::new(table.to_string()),
            message,
        )
        .with_evidence(evidence)
    };
    Ok(used.into_iter().map(finding).collect())
}

async fn at(cx: &UpgradeContext, side: Side) -> Result<Option<Reach>> {
    let cx = cx.at_side(side)?;
    let mut conn = cx.connect().await?;
    let reach = cx
        .bounded("read what was reached", Reach::now(&mut conn))
        .await?;
    close(conn).await;
    reach
}
