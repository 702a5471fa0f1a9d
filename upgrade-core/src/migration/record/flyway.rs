//! Flyway: a log. Undoing a migration adds a row too; the last row of a version decides.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::super::folder::{MigrationFile, MigrationKind};
use super::RecordTable;
use crate::postgres::sql::quote_ident;

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Apply,
    Undo,
}

pub(super) fn create(table: &RecordTable) -> String {
    let name = table.quoted();
    let part = |suffix: &str| quote_ident(&format!("{}{suffix}", table.name));
    format!(
        "create table if not exists {name} (
            installed_rank int not null,
            version varchar(50),
            description varchar(200) not null,
            type varchar(20) not null,
            script varchar(1000) not null,
            checksum integer,
            installed_by varchar(100) not null,
            installed_on timestamp not null default now(),
            execution_time integer not null,
            success boolean not null);
         alter table {name} add constraint {} primary key (installed_rank);
         create index {} on {name} (success)",
        part("_pk"),
        part("_s_idx"),
    )
}

pub(super) fn select(table: &RecordTable) -> String {
    format!(
        "select version, checksum, success from (
            select distinct on (1)
                coalesce(version, 'R__' || replace(description, ' ', '_')) as version,
                int4send(checksum) as checksum, success, type
            from {}
            where type not in ('SCHEMA', 'DELETE')
            order by 1, installed_rank desc) as latest
         where type not like 'UNDO%'",
        table.quoted()
    )
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    table: &RecordTable,
    file: &MigrationFile,
    elapsed: Duration,
    act: Act,
) -> Result<(), sqlx::Error> {
    let name = table.quoted();
    let sql = format!(
        "insert into {name} (installed_rank, version, description, type, script, checksum,
                             installed_by, execution_time, success)
         values ((select coalesce(max(installed_rank), 0) + 1 from {name}),
                 $1, $2, $3, $4, $5, current_user, $6, true)"
    );
    let mut checksum = [0; 4];
    checksum.copy_from_slice(&file.checksum.bytes);
    let script = match (act, &file.down) {
        (Act::Undo, Some(down)) => down,
        _ => &file.up,
    };
    let versioned = file.kind != MigrationKind::Repeatable;
    sqlx::query(AssertSqlSafe(sql))
        .bind(versioned.then_some(&file.version_text))
        .bind(file.name.replace('_', " "))
        .bind(if act == Act::Undo { "UNDO_SQL" } else { "SQL" })
        .bind(script.path.display().to_string())
        .bind((act == Act::Apply).then_some(i32::from_be_bytes(checksum)))
        .bind(i32::try_from(elapsed.as_millis()).unwrap_or(i32::MAX))
        .execute(conn)
        .await
        .map(drop)
}
