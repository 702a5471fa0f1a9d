//! The catalog of a database, against what a person would compare: the dump of its schema.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use upgrade_core::postgres::catalog::{Catalog, CatalogScope, ObjectKind};
use upgrade_core::postgres::server::{LocalServer, Profile, ServerBinaries};

use super::Effort;
use crate::line::{Goal, Line};
use crate::sample::{Sample, order, timed};
use crate::server::{self, run};
use crate::{Result, data};

/// Tables that one statement makes: all of their locks are held until its end.
const AT_ONCE: usize = 100;

pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Vec<Line>> {
    let server = server::start(binaries, Profile::ThrowAway).await?;
    let mut sides = Vec::new();
    for tables in [effort.tables / 100, effort.tables / 10, effort.tables] {
        sides.push(Side::fill(&server, tables).await?);
    }
    for round in 0..=effort.slow_rounds() {
        for arm in order(round, sides.len() * 2) {
            let side = &mut sides[arm / 2];
            let (time, sample) = match arm % 2 {
                0 => (side.read().await?, &mut side.ours),
                _ => (side.dump(&server).await?, &mut side.peer),
            };
            if round > 0 {
                sample.push(time);
            }
        }
    }
    server.stop().await?;
    let mut lines: Vec<Line> = sides
        .iter()
        .map(|side| Line {
            what: format!("catalog, {} tables", side.tables),
            against: "pg_dump --schema-only".to_owned(),
            ours: side.ours.clone(),
            peer: side.peer.clone(),
            goal: Goal::AtMost(1.0),
        })
        .collect();
    if let [.., small, large] = &*sides {
        lines.push(Line {
            what: format!("catalog, from {} to {} tables", small.tables, large.tables),
            against: "our time for the fewer".to_owned(),
            ours: large.ours.clone(),
            peer: small.ours.clone(),
            goal: Goal::Growth(1.1),
        });
    }
    Ok(lines)
}

/// A database of `tables` tables.
struct Side {
    tables: usize,
    name: String,
    connection: PgConnection,
    ours: Sample,
    peer: Sample,
}

impl Side {
    async fn fill(server: &LocalServer, tables: usize) -> Result<Self> {
        let name = format!("catalog_{tables}");
        let (_, mut connection) = server::database(server, &name).await?;
        for first in (0..tables).step_by(AT_ONCE) {
            let sql = data::tables_sql(first..tables.min(first + AT_ONCE));
            run(&mut connection, &sql).await?;
        }
        run(&mut connection, "vacuum (analyze)").await?;
        Ok(Self {
            tables,
            name,
            connection,
            ours: Sample::default(),
            peer: Sample::default(),
        })
    }

    async fn read(&mut self) -> Result<Duration> {
        let scope = CatalogScope::new();
        let (time, catalog) = timed(Catalog::read(&mut self.connection, &scope)).await?;
        let tables = catalog.objects().keys();
        let tables = tables.filter(|id| id.kind == ObjectKind::Table).count();
        self.check("read", tables)?;
        Ok(time)
    }

    async fn dump(&mut self, server: &LocalServer) -> Result<Duration> {
        let mut dump = server::client(server, "pg_dump", &self.name);
        dump.arg("--schema-only");
        let (time, dump) = timed(server::output(dump)).await?;
        self.check("dumped", dump.matches("\nCREATE TABLE ").count())?;
        Ok(time)
    }

    fn check(&self, what: &str, tables: usize) -> Result<()> {
        if tables == self.tables {
            return Ok(());
        }
        Err(format!("{tables} of {} tables were {what}", self.tables).into())
    }
}
