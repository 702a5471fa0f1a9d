//! The tools that keep one row for each applied migration and delete it when it is reverted.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::super::folder::{Layout, MigrationFile};
use super::{HistoryOptions, TableName, flyway, latest};
use crate::postgres::sql::quote_ident;

pub(super) fn default_table(layout: Layout) -> &'static str {
    match layout {
        Layout::Sqlx => "_sqlx_migrations",
        Layout::Diesel => "__diesel_schema_migrations",
        Layout::GolangMigrate | Layout::Dbmate => "schema_migrations",
        Layout::Refinery => "refinery_schema_history",
        Layout::Flyway => "flyway_schema_history",
        Layout::Popx => "schema_migration",
        Layout::Plain => "_upgrade_migrations",
    }
}

pub(super) fn create(layout: Layout, table: &TableName, options: &HistoryOptions) -> String {
    let name = table.quoted();
    let index = |suffix: &str| quote_ident(&format!("{}{suffix}", table.name));
    match layout {
        Layout::Sqlx => format!(
            "create table if not exists {name} (
                version bigint primary key,
                description text not null,
                installed_on timestamptz not null default now(),
                success boolean not null,
                checksum bytea not null,
                execution_time bigint not null)"
        ),
        Layout::Diesel => format!(
            "create table if not exists {name} (
                version varchar(50) primary key not null,
                run_on timestamp not null default current_timestamp)"
        ),
        Layout::GolangMigrate => latest::create(table),
        Layout::Refinery => format!(
            "create table if not exists {name} (
                version {} primary key,
                name varchar(255),
                applied_on varchar(255),
                checksum varchar(255))",
            if options.wide_versions { "int8" } else { "int4" }
        ),
        Layout::Flyway => flyway::create(table),
        Layout::Dbmate => {
            format!("create table if not exists {name} (version varchar(255) primary key)")
        }
        Layout::Popx => format!(
            "create table {name} (version varchar(48) not null, version_self int not null default 0);
             create unique index {} on {name} (version);
             create index {} on {name} (version_self)",
            index("_version_idx"),
            index("_version_self_idx"),
        ),
        Layout::Plain => format!(
            "create table if not exists {name} (
                version text primary key,
                name text not null,
                checksum bytea not null,
                applied_at timestamptz not null default now())"
        ),
    }
}

/// Version as text, checksum in the bytes of a `FileChecksum`, success.
pub(super) fn select(layout: Layout, table: &TableName) -> String {
    let name = table.quoted();
    match layout {
        Layout::Sqlx => format!("select version::text, checksum, success from {name}"),
        // A checksum in decimal digits beyond 63 bits: the bytes are made from the numeric value.
        Layout::Refinery => format!(
            "select version::text,
                    int8send((case when checksum::numeric >= 9223372036854775808
                        then checksum::numeric - 18446744073709551616
                        else checksum::numeric end)::int8),
                    true
             from {name}"
        ),
        Layout::Plain => format!("select version, checksum, true from {name}"),
        Layout::GolangMigrate => latest::select(table),
        Layout::Flyway => flyway::select(table),
        Layout::Diesel | Layout::Dbmate | Layout::Popx => {
            format!("select version::text, null::bytea, true from {name}")
        }
    }
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    layout: Layout,
    table: &TableName,
    file: &MigrationFile,
    elapsed: Duration,
) -> Result<(), sqlx::Error> {
    let name = table.quoted();
    let version = &file.version_text;
    let query = match layout {
        Layout::Sqlx => {
            let sql = format!(
                "insert into {name} (version, description, success, checksum, execution_time)
                 values ($1::text::int8, $2, true, $3, $4)"
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(version)
                .bind(file.name.replace('_', " "))
                .bind(&file.checksum.bytes)
                .bind(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
        }
        Layout::Refinery => {
            let sql = format!(
                "insert into {name} (version, name, applied_on, checksum)
                 values ($1::text::int8, $2,
                         to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), $3)"
            );
            let mut checksum = [0; 8];
            checksum.copy_from_slice(&file.checksum.bytes);
            sqlx::query(AssertSqlSafe(sql))
                .bind(version)
                .bind(&file.name)
                .bind(u64::from_be_bytes(checksum).to_string())
        }
        Layout::Plain => {
            let sql = format!("insert into {name} (version, name, checksum) values ($1, $2, $3)");
            sqlx::query(AssertSqlSafe(sql))
                .bind(version)
                .bind(&file.name)
                .bind(&file.checksum.bytes)
        }
        _ => {
            let sql = format!("insert into {name} (version) values ($1)");
            sqlx::query(AssertSqlSafe(sql)).bind(version)
        }
    };
    query.execute(conn).await.map(drop)
}

pub(super) async fn delete(
    conn: &mut PgConnection,
    layout: Layout,
    table: &TableName,
    file: &MigrationFile,
) -> Result<(), sqlx::Error> {
    let condition = match layout {
        Layout::Sqlx | Layout::Refinery => "version = $1::text::int8",
        // Only repeatable migrations come here; they have no version.
        Layout::Flyway => "version is null and 'R__' || replace(description, ' ', '_') = $1",
        _ => "version = $1",
    };
    let sql = format!("delete from {} where {condition}", table.quoted());
    sqlx::query(AssertSqlSafe(sql))
        .bind(&file.version_text)
        .execute(conn)
        .await
        .map(drop)
}
