//! Property tests of an upgrade: sequences that nobody thought of, and the shortest one that fails.
//!
//! A [`Sequence`](upgrade_core::plan::Sequence) is a list of steps, such as
//! `write seed 3; up 2; write seed 9; down 1; up 1`: users write, a number of migrations are
//! applied, a number of them are reverted. Each sequence runs on a separate database. After each
//! step the checks of [`Plan::from_sequence`](upgrade_core::Plan::from_sequence) run: no rows are
//! lost on the way, no boundary has another schema when it is reached again, and the validators
//! agree wherever the system stands at one of the two releases.
//!
//! One that fails is shortened as long as it still fails, and saved in
//! `upgrade-regressions/<crate>__<path, __ for ::>.json` beside the test's manifest, which is meant
//! to be committed: what it holds runs first.
//!
//! ```no_run
//! use upgrade_testkit::prelude::*;
//!
//! #[upgrade_test(scenarios = [upgrade])]
//! async fn any_sequence(cx: UpgradeContext) -> Result<()> {
//!     cx.upgrade()
//!         .invariant("every line has an order", "select * from lines where order_id not in (select id from orders)")
//!         .sequences()
//!         .cases(20)
//!         .rehearse()
//!         .await
//! }
//! # fn main() {}
//! ```
//!
//! # Custom users
//!
//! Where nothing is said, the seeder adds, changes and deletes rows of whatever tables there are. A
//! [`Model`] knows more: it writes as a user does, remembers what was acknowledged, and asks for it.
//!
//! ```no_run
//! use std::collections::BTreeSet;
//!
//! use async_trait::async_trait;
//! use upgrade_testkit::prelude::*;
//! use upgrade_testkit::sqlx;
//!
//! #[derive(Default)]
//! struct Orders(BTreeSet<i64>);
//!
//! #[async_trait]
//! impl Model for Orders {
//!     fn fresh(&self) -> Box<dyn Model> {
//!         Box::new(Self::default())
//!     }
//!
//!     async fn write(&mut self, cx: &UpgradeContext) -> Result<()> {
//!         let mut db = cx.connect().await?;
//!         let insert = "insert into orders (note) values ('for us') returning id";
//!         self.0.insert(sqlx::query_scalar(insert).fetch_one(&mut db).await?);
//!         Ok(())
//!     }
//!
//!     async fn check(&self, cx: &UpgradeContext) -> Result<Verdict> {
//!         let mut db = cx.connect().await?;
//!         let there: Vec<i64> = sqlx::query_scalar("select id from orders").fetch_all(&mut db).await?;
//!         let lost = |id: &&i64| !there.contains(*id);
//!         Ok(Verdict::from_findings(self.0.iter().filter(lost).map(|id| {
//!             let order = format!("order {id}");
//!             Finding::error("order-lost", order, "was acknowledged and is missing")
//!         }).collect()))
//!     }
//! }
//!
//! #[upgrade_test(scenarios = [upgrade])]
//! async fn orders_stay(cx: UpgradeContext) -> Result<()> {
//!     cx.upgrade().sequences().model(Orders::default()).rehearse().await
//! }
//! # fn main() {}
//! ```

mod draw;
mod model;
mod saved;
mod search;
mod shrink;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use upgrade_core::{Error, ErrorKind, Result};

use crate::case::TestCase;
use crate::display::print;
use crate::rehearsal::Rehearsal;
use crate::settings::Settings;
use search::Search;

pub use model::Model;

/// How many sequences are drawn where nothing is said.
pub const DEFAULT_CASES: u32 = 16;

/// How long new sequences are begun where nothing is said, and how long one that fails is
/// shortened.
pub const DEFAULT_WITHIN: Duration = Duration::from_secs(60);

/// Sequences of an upgrade: those that have failed before, then new ones.
///
/// It comes from [`Rehearsal::sequences`], and runs with [`rehearse`](Self::rehearse).
pub struct Sequences {
    rehearsal: Rehearsal,
    cases: Option<u32>,
    within: Duration,
    model: Option<Box<dyn Model>>,
    file: Option<PathBuf>,
}

impl Rehearsal {
    /// Goes through sequences that are drawn from the seed instead of through a scenario; see
    /// [`sequences`](crate::sequences). Writes of the rehearsal's own are made at the two releases
    /// only; those of the seeder, which knows any schema, at every boundary.
    #[must_use]
    pub fn sequences(self) -> Sequences {
        Sequences {
            rehearsal: self,
            cases: None,
            within: DEFAULT_WITHIN,
            model: None,
            file: None,
        }
    }
}

impl Sequences {
    /// Generates `cases` sequences. The default is `UPGRADE_SEQUENCES` if that is set, else
    /// [`DEFAULT_CASES`].
    #[must_use]
    pub fn cases(mut self, cases: u32) -> Self {
        self.cases = Some(cases);
        self
    }

    /// Begins no new sequence when this time is over ([`DEFAULT_WITHIN`] where nothing is said); a
    /// first one, and those that are saved, run in any case. One that fails is shortened for as
    /// long again.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Has this model write and judge, a fresh one in each sequence.
    #[must_use]
    pub fn model(mut self, model: impl Model) -> Self {
        self.model = Some(Box::new(model));
        self
    }

    /// Saves sequences that fail in this file, and runs those first that it holds, instead of in
    /// the one that is named after the test.
    #[must_use]
    pub fn saved_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Runs the saved sequences, then new ones, to the first that fails.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] with the shortest sequence that was found to fail, the report of its
    /// run, and where it was saved; the kind of the run's own error where that broke off;
    /// [`ErrorKind::InvalidInput`] when the saved ones cannot be read, and in a test with several
    /// scenarios, each of which would search for the same sequences.
    pub async fn rehearse(self) -> Result<()> {
        self.check_alone()?;
        let file = self.file()?;
        let saved = saved::read(&file)?;
        let cases = match self.cases {
            Some(cases) => cases,
            None => self.settings()?.sequences.unwrap_or(DEFAULT_CASES),
        };
        let ready = Box::pin(self.rehearsal.ready()).await?;
        let between = self.model.is_none() && !ready.has_writes();
        print(&format!("previous release: {}", ready.reason()));
        let search = Search {
            ready,
            model: self.model,
            file,
            within: self.within,
        };
        let outline = search.with_users().outline()?;
        search.replay(&outline, &saved).await?;
        search.draw(&outline, cases, between).await
    }

    fn check_alone(&self) -> Result<()> {
        if let Some(cx) = self.rehearsal.context()
            && TestCase::of(cx)?.spec().is_one_of_several()
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a search for sequences is no scenario: this test would repeat it for each of its \
                 scenarios",
            )
            .with_hint("name one, and it does not matter which: `scenarios = [upgrade]`"));
        }
        Ok(())
    }

    fn settings(&self) -> Result<Settings> {
        match self.rehearsal.context() {
            Some(cx) => Ok(TestCase::of(cx)?.settings().clone()),
            None => Ok(Settings::of_package(Path::new("."))?),
        }
    }

    /// The file of the sequences that have failed.
    fn file(&self) -> Result<PathBuf> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        Ok(match self.rehearsal.context() {
            Some(cx) => {
                let spec = TestCase::of(cx)?.spec();
                let test = format!("{}::{}", spec.crate_name(), spec.path());
                saved::path(spec.manifest_dir().as_ref(), &test)
            }
            None => saved::path(self.rehearsal.base(), self.rehearsal.name()),
        })
    }
}

impl fmt::Debug for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequences")
            .field("rehearsal", &self.rehearsal)
            .field("cases", &self.cases)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}
