//! What a test database costs, against the bare statement. Run with `--ignored --nocapture`.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use upgrade_core::RunId;
use upgrade_core::postgres::database::CopyStrategy;
use upgrade_core::postgres::server::{ProviderOptions, available_majors};
use upgrade_testkit::pool::{Outcome, Pool, TemplateKey};

use crate::support::Place;

const TABLES: u32 = 100;
const ROUNDS: usize = 40;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

async fn fill(database: upgrade_core::postgres::database::Database) -> upgrade_core::Result<()> {
    let mut connection = database.connect().await?;
    for table in 0..TABLES {
        let sql = format!(
            "create table t{table} (id bigint primary key, a text, b int); \
             create index on t{table} (a); \
             insert into t{table} select n, md5(n::text) from generate_series(1, 100) n"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

async fn measure(major: u16) {
    let place = Place::new();
    let options = place.options().with_major(Some(major));
    let key = TemplateKey::new().with("figures", TABLES.to_le_bytes());
    let pool = Pool::connect(options).await.unwrap();
    // What initdb costs once for a machine is no part of the figures.
    drop(pool.empty_database(&RunId::generate()).await.unwrap());
    let start = Instant::now();
    let template = pool.template(&key, fill).await.unwrap();
    let build = start.elapsed();

    let start = Instant::now();
    let first = template.hand_out(&RunId::generate()).await.unwrap();
    let cold = start.elapsed();

    let clause = match template.strategy().strategy() {
        CopyStrategy::WalLog => "strategy wal_log",
        CopyStrategy::FileCopy => "strategy file_copy",
        _ => "",
    };
    let mut admin: PgConnection = first.connect_maintenance().await.unwrap();
    let (mut bare, mut handed) = (Vec::new(), Vec::new());
    // In turn, so that both see the same machine.
    for round in 0..ROUNDS {
        let create = format!("create database bare{round} template upgrade_template {clause}");
        let start = Instant::now();
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .unwrap();
        bare.push(start.elapsed());
        let drop_it = format!("drop database bare{round}");
        sqlx::raw_sql(AssertSqlSafe(drop_it))
            .execute(&mut admin)
            .await
            .unwrap();

        let start = Instant::now();
        let database = template.hand_out(&RunId::generate()).await.unwrap();
        handed.push(start.elapsed());
        // Dropped as the bare one is, so that neither finds more files than the other.
        let name = database.name().to_owned();
        let drop_it = format!("drop database \"{name}\" with (force)");
        sqlx::raw_sql(AssertSqlSafe(drop_it))
            .execute(&mut admin)
            .await
            .unwrap();
        database.release(Outcome::Passed).await.unwrap();
    }
    let (bare, handed) = (median(bare), median(handed));
    println!(
        "Postgres {major}, {TABLES} tables: build {:.0} ms, first hand-out of a process {:.0} ms, \
         hand-out {handed:.1} ms, bare {bare:.1} ms, ratio {:.2}; {}",
        build.as_secs_f64() * 1e3,
        cold.as_secs_f64() * 1e3,
        handed / bare,
        template.strategy().reason
    );
    assert!(
        handed <= bare * 1.2,
        "a hand-out costs {handed} ms, a bare copy {bare} ms"
    );
}

#[tokio::test]
#[ignore = "needs a quiet machine"]
async fn a_hand_out_costs_little_more_than_the_bare_statement() {
    let mut provider = ProviderOptions::from_env().unwrap();
    provider.url = None;
    for (major, _) in available_majors(&provider).unwrap() {
        measure(major).await;
    }
}
