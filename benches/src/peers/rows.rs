//! Which rows of two tables differ, against the statement that Postgres has for it.
//!
//! Both states of a table lie as two states of a system do: the earlier one in a separate database.
//! The peer can only compare within one database, so it has a copy of the earlier one there.

use sqlx::postgres::PgConnection;
use upgrade_core::observation::Reading;
use upgrade_core::postgres::catalog::TableName;
use upgrade_core::postgres::rowdiff::{self, RowDiffOptions};
use upgrade_core::postgres::server::{Profile, ServerBinaries};

use super::Effort;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};
use crate::{Result, data};

/// Rows that are changed, removed and added between the two states.
const CHANGED: u64 = 3;
const LOST: u64 = 2;
const ADDED: u64 = 1;

/// What differs: rows that are only in the earlier state, and only in the later one.
type Differences = (u64, u64);

/// A changed row is in both.
const EXPECTED: Differences = (CHANGED + LOST, CHANGED + ADDED);

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Line> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let (_, mut then) = server::database(&server, "rows_then").await?;
    let (_, mut now) = server::database(&server, "rows_now").await?;
    for connection in [&mut then, &mut now] {
        run(connection, data::ROWS_TABLE).await?;
        run(connection, &data::rows_sql(effort.rows)).await?;
    }
    run(&mut now, "create schema earlier").await?;
    run(&mut now, "create table earlier.rows as table rows").await?;
    for connection in [&mut then, &mut now] {
        run(connection, "alter table rows add primary key (id)").await?;
    }
    run(&mut now, &changes(effort.rows)).await?;
    for connection in [&mut then, &mut now] {
        run(connection, "vacuum (analyze)").await?;
        // Both alike: one process for a side, and no compilation.
        run(connection, "set max_parallel_workers_per_gather = 0").await?;
        run(connection, "set jit = off").await?;
    }
    let mut ours = Sample::default();
    let mut peer = Sample::default();
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 2) {
            let (time, found, sample) = match arm {
                0 => {
                    let (time, found) = timed(row_diff(&mut then, &mut now)).await?;
                    (time, found, &mut ours)
                }
                _ => {
                    let (time, found) = timed(except_all(&mut now)).await?;
                    (time, found, &mut peer)
                }
            };
            if found != EXPECTED {
                return Err(format!("{found:?} instead of {EXPECTED:?} rows differ").into());
            }
            if round > 0 {
                sample.push(time);
            }
        }
    }
    server.stop().await?;
    Ok(Line {
        what: format!("rows that differ, of {} rows of 11 columns", effort.rows),
        against: "except all, both ways".to_owned(),
        ours,
        peer,
        goal: Goal::AtMost(1.0),
    })
}

/// Ours: the rows are named as well.
async fn row_diff(then: &mut PgConnection, now: &mut PgConnection) -> Result<Differences> {
    let columns = data::COLUMNS
        .iter()
        .map(|column| ((*column).to_owned(), Reading::Value))
        .collect();
    let table = TableName::new("public", "rows");
    let diff = rowdiff::diff(then, now, &table, &columns, &RowDiffOptions::default()).await?;
    Ok((diff.lost + diff.changed, diff.added + diff.changed))
}

/// The rows of each side that the other one does not have, counted.
async fn except_all(now: &mut PgConnection) -> Result<Differences> {
    let columns = data::COLUMNS.join(", ");
    let only = |here: &str, there: &str| {
        format!(
            "(select count(*) from (select {columns} from {here}.rows
                except all select {columns} from {there}.rows) differing)"
        )
    };
    let sql = format!(
        "select {}, {}",
        only("earlier", "public"),
        only("public", "earlier")
    );
    let row = sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(false);
    let (lost, added): (i64, i64) = row.fetch_one(now).await?;
    Ok((lost.unsigned_abs(), added.unsigned_abs()))
}

/// A few rows, far from one another.
fn changes(rows: u64) -> String {
    let ids = |from: u64, count: u64| {
        let ids = (from..from + count).map(|n| (n * rows / 8).max(n).to_string());
        ids.collect::<Vec<_>>().join(", ")
    };
    format!(
        "update rows set amount = amount + 1 where id in ({});
        delete from rows where id in ({});
        insert into rows select {rows} + n, customer, reference, email, note, amount, created, due,
            paid, kind, detail from rows, generate_series(1, {ADDED}) n where id = {rows}",
        ids(1, CHANGED),
        ids(1 + CHANGED, LOST),
    )
}
