//! The comparisons, one file each.

mod catalog;
mod fingerprint;
mod folder;
mod hand_out;
mod journal;
mod rehearsal;
mod rollback;
mod rows;
mod seed;
mod start;

use upgrade_core::postgres::server::{Profile, ServerBinaries};

use crate::Result;
use crate::line::Line;
use crate::migrations::Published;
use crate::server;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of the quick operations; those that take seconds get a third of them.
    pub rounds: usize,
    /// Rows of the tables whose fingerprint is taken, that are compared, and that are filled.
    pub rows: u64,
    /// Tables of the largest schema; the others have a tenth and a hundredth of them.
    pub tables: usize,
    /// Migrations of the largest folder; the others have a tenth and a third of them.
    pub migrations: usize,
    /// The smaller database of the rollback, in megabytes; the larger one is ten times as large.
    pub megabytes: u32,
}

impl Effort {
    /// What the figures are taken with.
    pub const FULL: Self = Self {
        rounds: 15,
        rows: 1_000_000,
        tables: 1000,
        migrations: 300,
        megabytes: 100,
    };

    /// What shows in a minute that all of it runs.
    pub const QUICK: Self = Self {
        rounds: 5,
        rows: 100_000,
        tables: 100,
        migrations: 30,
        megabytes: 10,
    };

    /// Rounds of operations that take seconds.
    fn slow_rounds(self) -> usize {
        (self.rounds / 3).max(3)
    }

    /// Rounds of operations that take a minute.
    fn slowest_rounds(self) -> usize {
        (self.rounds / 7).max(1)
    }
}

/// One comparison, or several that share what they are measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// A database for a test, against a bare copy and against migrating.
    HandOut,
    /// A server for a test process.
    Start,
    /// The fingerprint of a table, against two statements.
    Fingerprint,
    /// The rows that differ, against `EXCEPT ALL`.
    Rows,
    /// The catalog of a database, against `pg_dump`.
    Catalog,
    /// The rollback by a kept copy on two sizes of data, against a backup that is restored.
    Rollback,
    /// A whole rehearsal, against its statements and copies alone.
    Rehearsal,
    /// A whole folder of migrations, against a driver with `pg_dump`.
    Folder,
    /// An upgrade with a journal, against one without.
    Journal,
    /// The filling of a table with rows, against a bare COPY.
    Seed,
}

impl Comparison {
    /// All, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::HandOut,
        Self::Start,
        Self::Fingerprint,
        Self::Rows,
        Self::Catalog,
        Self::Rollback,
        Self::Rehearsal,
        Self::Folder,
        Self::Journal,
        Self::Seed,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::HandOut => "hand-out",
            Self::Start => "start",
            Self::Fingerprint => "fingerprint",
            Self::Rows => "rows",
            Self::Catalog => "catalog",
            Self::Rollback => "rollback",
            Self::Rehearsal => "rehearsal",
            Self::Folder => "folder",
            Self::Journal => "journal",
            Self::Seed => "seed",
        }
    }

    /// Measures it.
    ///
    /// # Errors
    /// A server that does not start, a statement that fails, or a result that is wrong: a time is
    /// worth nothing then.
    pub async fn measure(self, binaries: &ServerBinaries, effort: Effort) -> Result<Vec<Line>> {
        match self {
            Self::HandOut => {
                let pool = server::pool(Some(binaries.version().major())).await?;
                let published = Published::read().await?;
                let mut lines = hand_out::against_bare_copies(&pool, &published, effort).await?;
                let durable = server::start(binaries, Profile::Durable).await?;
                lines.extend(
                    hand_out::against_migrating(&pool, &durable, &published, effort).await?,
                );
                durable.stop().await?;
                Ok(lines)
            }
            Self::Start => Ok(vec![start::measure(binaries, effort).await?]),
            Self::Fingerprint => fingerprint::measure(binaries, effort).await,
            Self::Rows => Ok(vec![rows::measure(binaries, effort).await?]),
            Self::Catalog => catalog::measure(binaries, effort).await,
            Self::Rollback => rollback::measure(binaries, effort).await,
            Self::Folder => folder::measure(binaries, effort).await,
            Self::Journal => Ok(vec![journal::measure(binaries, effort).await?]),
            Self::Seed => Ok(vec![seed::measure(binaries, effort).await?]),
            Self::Rehearsal => {
                let pool = server::pool(Some(binaries.version().major())).await?;
                rehearsal::measure(&pool, effort).await
            }
        }
    }
}
