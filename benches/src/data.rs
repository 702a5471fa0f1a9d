//! Schemas and rows that are measured on, as SQL.

use std::fmt::Write as _;
use std::ops::Range;

/// The columns of [`ROWS_TABLE`].
pub const COLUMNS: [&str; 11] = [
    "id",
    "customer",
    "reference",
    "email",
    "note",
    "amount",
    "created",
    "due",
    "paid",
    "kind",
    "detail",
];

/// An empty table of eleven columns of the types that tables have.
pub const ROWS_TABLE: &str = "create table rows (
    id bigint not null, customer int not null, reference uuid not null, email text not null,
    note text, amount numeric(12, 2) not null, created timestamptz not null, due date not null,
    paid boolean not null, kind smallint not null, detail jsonb not null)";

/// Fills [`ROWS_TABLE`]; the same rows every time.
pub fn rows_sql(rows: u64) -> String {
    format!(
        "insert into rows select i, i % 5000, md5(i::text)::uuid, 'user' || i || '@example.org',
            case when i % 3 > 0 then repeat('note ' || i, 4) end, (i * 37 % 1000000) / 100.0,
            timestamptz '2024-01-01 00:00Z' + i * interval '1 minute', date '2024-01-01' + (i % 900)::int,
            i % 2 = 0, i % 7, jsonb_build_object('n', i, 'k', md5(i::text))
        from generate_series(1, {rows}::bigint) i"
    )
}

/// A schema of tables by their numbers, each with a key, an index, a check, a reference to the one before
/// it, and ten rows.
pub fn tables_sql(tables: Range<usize>) -> String {
    let mut sql = String::new();
    for n in tables {
        let before = n.saturating_sub(1);
        write!(
            sql,
            "create table t{n} (
                id bigint generated always as identity primary key,
                parent bigint references t{before},
                name text not null check (name <> ''),
                created timestamptz not null default now());
            create index on t{n} (name);
            insert into t{n} (name) select 'row ' || i from generate_series(1, 10) i;"
        )
        .expect("a string takes every text");
    }
    sql
}

/// Fills a database with some megabytes in one table; a row takes about 800 bytes with its key.
pub fn megabytes_sql(megabytes: u32) -> String {
    let rows = u64::from(megabytes) * (1 << 20) / 800;
    format!(
        "create table bulk (id bigint primary key, payload text not null);
        insert into bulk select i, repeat(md5(i::text), 22) from generate_series(1, {rows}::bigint) i"
    )
}
