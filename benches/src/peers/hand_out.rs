//! A database for a test, against what it would cost at least, and against what tests do now.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use upgrade_core::RunId;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::LocalServer;
use upgrade_testkit::pool::{Pool, Template, TestDatabase};

use super::Effort;
use crate::line::{Goal, Line};
use crate::migrations::{CRATE, Published};
use crate::sample::{Sample, order, timed};
use crate::server::{first_query, run, sql_template};
use crate::{Result, data};

/// The copies of a template that a server offers.
pub(super) const STRATEGIES: [&str; 2] = [" strategy wal_log", " strategy file_copy"];

/// Our hand-out against `CREATE DATABASE … TEMPLATE` alone, on a small and on a larger template.
pub(super) async fn against_bare_copies(
    pool: &Pool,
    published: &Published,
    effort: Effort,
) -> Result<Vec<Line>> {
    let small = published.template(pool).await?;
    let what = format!("hand-out, schema of {CRATE} {}", published.version);
    let small = bare_copy(&small, what, effort).await?;
    let large = sql_template(pool, &data::tables_sql(0..100)).await?;
    let large = bare_copy(&large, "hand-out, 100 tables".to_owned(), effort).await?;
    Ok(vec![small, large])
}

async fn bare_copy(template: &Template, what: String, effort: Effort) -> Result<Line> {
    let mut bench = Bench::open(template).await?;
    let source: String = sqlx::query_scalar(
        "select quote_ident(datname) from pg_database where not datallowconn and datname <> 'template0'",
    )
    .fetch_one(&mut bench.admin)
    .await?;
    let clauses: &[&str] = if template.server_major() < 15 {
        &[""]
    } else {
        &STRATEGIES
    };
    let mut ours = Sample::default();
    let mut bare = vec![Sample::default(); clauses.len()];
    for round in 0..=effort.rounds {
        for arm in order(round, clauses.len() + 1) {
            let time = match arm.checked_sub(1) {
                None => bench.hand_out(template).await?,
                Some(arm) => {
                    let name = format!("bare_{round}_{arm}");
                    let sql = format!("create database {name} template {source}{}", clauses[arm]);
                    timed(run(&mut bench.admin, &sql)).await?.0
                }
            };
            // The first round fills caches and opens connections.
            if round > 0 {
                match arm.checked_sub(1) {
                    None => ours.push(time),
                    Some(arm) => bare[arm].push(time),
                }
            }
        }
    }
    let best = (0..clauses.len())
        .min_by_key(|&arm| bare[arm].median())
        .expect("a server has a way of copying");
    Ok(Line {
        what,
        against: format!("bare create database{}", clauses[best]),
        ours,
        peer: bare.swap_remove(best),
        goal: Goal::AtMost(1.2),
    })
}

/// A schema with a session in it: a hand-out, against an empty database and every migration, as
/// `sqlx::test` does for each test. The peer runs on the server of the hand-out, which is kinder
/// to it than what it usually finds, and on one with the settings of an installed server.
pub(super) async fn against_migrating(
    pool: &Pool,
    durable: &LocalServer,
    published: &Published,
    effort: Effort,
) -> Result<[Line; 2]> {
    let template = published.template(pool).await?;
    let mut bench = Bench::open(&template).await?;
    let durable = Database::new(&durable.connect_options(), "postgres");
    let mut durable_admin = durable.connect().await?;
    let mut samples = [(); 3].map(|()| Sample::default());
    for round in 0..=effort.rounds {
        let name = format!("migrated_{round}");
        for arm in order(round, samples.len()) {
            let time = match arm {
                0 => bench.hand_out_and_ask(&template).await?,
                1 => {
                    let target = bench.handed_out[0].sibling(&name);
                    migrate(&mut bench.admin, &target, published).await?
                }
                _ => migrate(&mut durable_admin, &durable.sibling(&name), published).await?,
            };
            if round > 0 {
                samples[arm].push(time);
            }
        }
    }
    let [ours, same, durable] = samples;
    let line = |place, peer| Line {
        what: "hand-out and first query, same schema".to_owned(),
        against: format!("{} sqlx migrations per test, {place}", published.count()),
        ours: ours.clone(),
        peer,
        goal: Goal::Faster(10.0),
    };
    Ok([line("same server", same), line("durable server", durable)])
}

/// Makes an empty database and brings it to the newest version.
async fn migrate(
    admin: &mut PgConnection,
    target: &Database,
    published: &Published,
) -> Result<Duration> {
    let work = async {
        run(admin, &format!("create database {}", target.name())).await?;
        let mut connection = target.connect().await?;
        published.migrator.run(&mut connection).await?;
        Ok::<_, upgrade_core::BoxError>(connection)
    };
    let (time, connection) = timed(work).await?;
    connection.close().await?;
    Ok(time)
}

/// A server that the pool runs, and what was handed out on it. Nothing is dropped while others are
/// timed: a drop costs all of them a checkpoint.
struct Bench {
    admin: PgConnection,
    handed_out: Vec<TestDatabase>,
}

impl Bench {
    async fn open(template: &Template) -> Result<Self> {
        let first = template.hand_out(&RunId::generate()).await?;
        Ok(Self {
            admin: first.connect_maintenance().await?,
            handed_out: vec![first],
        })
    }

    async fn hand_out(&mut self, template: &Template) -> Result<Duration> {
        let (time, database) = timed(template.hand_out(&RunId::generate())).await?;
        self.handed_out.push(database);
        Ok(time)
    }

    async fn hand_out_and_ask(&mut self, template: &Template) -> Result<Duration> {
        let work = async {
            let database = template.hand_out(&RunId::generate()).await?;
            let connection = first_query(&database).await?;
            Ok::<_, upgrade_core::BoxError>((database, connection))
        };
        let (time, (database, connection)) = timed(work).await?;
        connection.close().await?;
        self.handed_out.push(database);
        Ok(time)
    }
}
