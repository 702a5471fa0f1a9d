//! The comparisons, one file each.

mod fingerprint;
mod hand_out;
mod seed;
mod start;
mod swap;

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
    /// Rows of the tables whose fingerprint is taken and that are filled.
    pub rows: u64,
    /// The smaller database of the swap, in megabytes; the larger one is ten times as large.
    pub megabytes: u32,
}

impl Effort {
    /// Rounds of operations that take seconds.
    fn slow_rounds(self) -> usize {
        (self.rounds / 3).max(3)
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
    /// The swap of a rollback on two sizes of data.
    Swap,
    /// The filling of a table with rows.
    Seed,
}

impl Comparison {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::HandOut,
        Self::Start,
        Self::Fingerprint,
        Self::Swap,
        Self::Seed,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::HandOut => "hand-out",
            Self::Start => "start",
            Self::Fingerprint => "fingerprint",
            Self::Swap => "swap",
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
            Self::Swap => Ok(vec![swap::measure(binaries, effort).await?]),
            Self::Seed => Ok(vec![seed::measure(binaries, effort).await?]),
        }
    }
}
