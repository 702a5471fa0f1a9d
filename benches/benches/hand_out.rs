//! Single operations, for `cargo bench` to compare with the last run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sqlx::Connection as _;
use tokio::runtime::{Builder, Runtime};
use upgrade_benches::{Result, data, server};
use upgrade_core::RunId;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::catalog::{Catalog, CatalogScope};
use upgrade_core::postgres::fingerprint::{ColumnPick, HashMode, TableName, fingerprint};
use upgrade_core::postgres::server::Profile;
use upgrade_testkit::pool::Outcome;

/// Rows of the table whose fingerprint is taken.
const ROWS: u64 = 100_000;

fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_all().build();
    built.expect("a runtime needs nothing but file descriptors")
}

/// Runs an operation `count` times and adds up the times that it measures.
fn times(runtime: &Runtime, count: u64, one: impl AsyncFn() -> Result<Duration>) -> Duration {
    let work = async {
        let mut total = Duration::ZERO;
        for _ in 0..count {
            total += one().await?;
        }
        Result::Ok(total)
    };
    succeed(runtime.block_on(work))
}

/// Criterion knows no failure: a bench that cannot be run ends the program with the reason.
fn succeed<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A separate server, warm, to its first answer.
fn start(c: &mut Criterion) {
    let runtime = runtime();
    let binaries = succeed(runtime.block_on(server::binaries(None)));
    let one = async || {
        let begin = Instant::now();
        let server = server::start(&binaries, Profile::ThrowAway).await?;
        let database = Database::new(&server.connect_options(), "postgres");
        let connection = server::first_query(&database).await?;
        let time = begin.elapsed();
        connection.close().await?;
        server.stop().await?;
        Ok(time)
    };
    c.bench_function("server/start to first query", |b| {
        b.iter_custom(|count| times(&runtime, count, one));
    });
}

/// A test's whole use of the pool; what is dropped in the background weighs on it.
fn hand_out(c: &mut Criterion) {
    let runtime = runtime();
    let pool = succeed(runtime.block_on(server::pool(None)));
    let mut group = c.benchmark_group("pool");
    for tables in [10, 100] {
        let sql = data::tables_sql(0..tables);
        let template = succeed(runtime.block_on(server::sql_template(&pool, &sql)));
        let one = async || {
            let begin = Instant::now();
            let database = template.hand_out(&RunId::generate()).await?;
            let connection = server::first_query(&database).await?;
            connection.close().await?;
            database.release(Outcome::Passed).await?;
            Ok(begin.elapsed())
        };
        let name = "hand-out, first query, release";
        group.bench_function(BenchmarkId::new(name, format!("{tables} tables")), |b| {
            b.iter_custom(|count| times(&runtime, count, one));
        });
    }
}

/// A schema as data.
fn catalog(c: &mut Criterion) {
    let runtime = runtime();
    let binaries = succeed(runtime.block_on(server::binaries(None)));
    let server = succeed(runtime.block_on(server::start(&binaries, Profile::ThrowAway)));
    let mut group = c.benchmark_group("catalog");
    for tables in [10, 100] {
        let prepare = async {
            let name = format!("tables_{tables}");
            let (_, mut connection) = server::database(&server, &name).await?;
            server::run(&mut connection, &data::tables_sql(0..tables)).await?;
            Result::Ok(connection)
        };
        let mut connection = succeed(runtime.block_on(prepare));
        let scope = CatalogScope::new();
        group.bench_function(BenchmarkId::new("read", format!("{tables} tables")), |b| {
            b.iter(|| {
                let read = runtime.block_on(Catalog::read(&mut connection, &scope));
                black_box(succeed(read.map_err(Into::into)))
            });
        });
    }
}

/// Rows as a number.
fn rows(c: &mut Criterion) {
    let runtime = runtime();
    let binaries = succeed(runtime.block_on(server::binaries(None)));
    let server = succeed(runtime.block_on(server::start(&binaries, Profile::ThrowAway)));
    let prepare = async {
        let (_, mut connection) = server::database(&server, "rows").await?;
        server::run(&mut connection, data::ROWS_TABLE).await?;
        server::run(&mut connection, &data::rows_sql(ROWS)).await?;
        server::run(&mut connection, "vacuum (analyze) rows").await?;
        Result::Ok(connection)
    };
    let mut connection = succeed(runtime.block_on(prepare));
    let table = TableName::new("public", "rows");
    let picks = data::COLUMNS.map(ColumnPick::new);
    let mut group = c.benchmark_group("fingerprint");
    for mode in [HashMode::Native, HashMode::Portable] {
        group.bench_function(
            BenchmarkId::new(mode.to_string(), format!("{ROWS} rows")),
            |b| {
                b.iter(|| {
                    let work = fingerprint(&mut connection, &table, &picks, mode);
                    black_box(succeed(runtime.block_on(work).map_err(Into::into)))
                });
            },
        );
    }
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = start, hand_out, catalog, rows
}
criterion_main!(all);
