//! The fingerprint of a table, against the cheapest statement that reads as much, and against the
//! one that data-diff sends.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use upgrade_core::postgres::fingerprint::{ColumnPick, HashMode, TableName, fingerprint};
use upgrade_core::postgres::server::{Profile, ServerBinaries};

use super::Effort;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};
use crate::{Result, data};

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Vec<Line>> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let (_, mut connection) = server::database(&server, "fingerprint").await?;
    run(&mut connection, data::ROWS_TABLE).await?;
    run(&mut connection, &data::rows_sql(effort.rows)).await?;
    let few = effort.rows / 10;
    let sql = format!("create table few as select * from rows where id <= {few}");
    run(&mut connection, &sql).await?;
    run(&mut connection, "vacuum (analyze)").await?;
    // All alike: one process, and no compilation.
    run(&mut connection, "set max_parallel_workers_per_gather = 0").await?;
    run(&mut connection, "set jit = off").await?;

    let table = TableName::new("public", "rows");
    let picks = data::COLUMNS.map(ColumnPick::new);
    let table_of_few = TableName::new("public", "few");
    let peers = [bare_scan(), data_diff(), own_hashes()];
    let mut ours = Sample::default();
    let mut of_few = Sample::default();
    let mut theirs = [Sample::default(), Sample::default(), Sample::default()];
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, 5) {
            let (time, seen, wanted, sample) = match arm {
                0 | 1 => {
                    let (table, wanted, sample) = match arm {
                        0 => (&table, effort.rows, &mut ours),
                        _ => (&table_of_few, few, &mut of_few),
                    };
                    let work = fingerprint(&mut connection, table, &picks, HashMode::Native);
                    let (time, print) = timed(work).await?;
                    (time, print.rows, wanted, sample)
                }
                _ => {
                    let peer = arm - 2;
                    let (time, seen) = timed(scan(&mut connection, &peers[peer])).await?;
                    (time, seen, effort.rows, &mut theirs[peer])
                }
            };
            if seen != wanted {
                return Err(format!("{seen} of {wanted} rows were seen").into());
            }
            // The first round brings the tables into memory.
            if round > 0 {
                sample.push(time);
            }
        }
    }
    server.stop().await?;
    let [bare, data_diff, inexact] = theirs;
    let what = format!("fingerprint, {} rows of 11 columns", effort.rows);
    Ok(vec![
        Line {
            what: what.clone(),
            against: "bare sum of the same expression".to_owned(),
            ours: ours.clone(),
            peer: bare,
            goal: Goal::AtMost(1.1),
        },
        Line {
            what,
            against: "data-diff's sum of md5".to_owned(),
            ours: ours.clone(),
            peer: data_diff,
            goal: Goal::Faster(2.5),
        },
        Line {
            what: format!("fingerprint, {} rows of 11 columns", effort.rows),
            against: "sum of the types' own hashes, which is not exact".to_owned(),
            ours: ours.clone(),
            peer: inexact,
            goal: Goal::AtMost(2.5),
        },
        Line {
            what: format!("fingerprint, from {few} to {} rows", effort.rows),
            against: "our time for the fewer".to_owned(),
            ours,
            peer: of_few,
            goal: Goal::Growth(1.1),
        },
    ])
}

/// Runs a statement that answers with the number of rows and a checksum.
async fn scan(connection: &mut PgConnection, sql: &str) -> Result<u64> {
    let row = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
    let (rows, _): (i64, String) = row.fetch_one(connection).await?;
    Ok(rows.unsigned_abs())
}

/// The expression that a fingerprint sums, over the columns as they are.
fn bare_scan() -> String {
    let columns = data::COLUMNS.join(", ");
    format!(
        "select count(*), sum(hash_record_extended(row(record_send(row({columns}))), 0))::text from rows"
    )
}

/// What takes null for 0, and -1 for 4294967295.
fn own_hashes() -> String {
    let columns = data::COLUMNS.join(", ");
    format!("select count(*), sum(hash_record_extended(row({columns}), 0))::text from rows")
}

/// The last 60 bits of the md5 of all values as text, summed; what data-diff sends for a segment
/// when it normalises no type.
fn data_diff() -> String {
    let columns = data::COLUMNS.map(|name| format!("coalesce({name}::varchar, '<null>')"));
    format!(
        "select count(*), sum(('x' || substring(md5(concat({})), 18))::bit(60)::bigint)::text from rows",
        columns.join(", '|', ")
    )
}
