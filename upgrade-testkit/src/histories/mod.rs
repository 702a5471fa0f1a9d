//! Property tests of an upgrade: histories that nobody thought of, and the shortest one that fails.
//!
//! A [`History`] is a list of steps, such as `write seed 3; up 2; write seed 9; down 1; up 1`: users
//! write, so many migrations are applied, so many are reverted. Each one that is drawn runs on a
//! database of its own. What is asked after each step is what [`Plan::from_history`] says: no rows
//! are lost on the way, no boundary has another schema when it is reached again, and the validators
//! agree wherever the system stands at one of the two releases.
//!
//! One that fails is shortened as long as it still fails, and saved in
//! `upgrade-regressions/<crate>__<path, __ for ::>.json` beside the test's manifest, which is meant
//! to be committed: what it holds runs first.
//!
//! ```no_run
//! use upgrade_testkit::prelude::*;
//!
//! #[upgrade_test(scenarios = [straight])]
//! async fn any_history(cx: UpgradeContext) -> Result<()> {
//!     cx.upgrade()
//!         .invariant("every line has an order", "select * from lines where order_id not in (select id from orders)")
//!         .histories()
//!         .cases(20)
//!         .rehearse()
//!         .await
//! }
//! # fn main() {}
//! ```
//!
//! # Users of one's own
//!
//! Where nothing is said, the seeder adds rows to whatever tables there are. A [`Model`] knows more:
//! it writes as a user does, remembers what was acknowledged, and asks for it.
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
//!             Finding::error("order-lost", format!("order {id}"), "was acknowledged and is gone")
//!         }).collect()))
//!     }
//! }
//!
//! #[upgrade_test(scenarios = [straight])]
//! async fn orders_stay(cx: UpgradeContext) -> Result<()> {
//!     cx.upgrade().histories().model(Orders::default()).rehearse().await
//! }
//! # fn main() {}
//! ```

mod draw;
mod model;
mod saved;
mod shrink;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use upgrade_core::plan::{History, Outline, Plan};
use upgrade_core::report::{StepOutcome, StepReport};
use upgrade_core::{Error, ErrorKind, Phase, Report, Result};

use crate::case::TestCase;
use crate::display::print;
use crate::rehearsal::{Ready, Rehearsal};
use crate::settings::Settings;
use draw::Drawer;
use saved::Saved;

pub use model::Model;

/// How many histories are drawn where nothing is said.
pub const DEFAULT_CASES: u32 = 16;

/// How long new histories are begun where nothing is said, and how long one that fails is
/// shortened.
pub const DEFAULT_WITHIN: Duration = Duration::from_secs(60);

/// Histories of an upgrade: those that have failed before, then new ones.
///
/// It comes from [`Rehearsal::histories`], and runs with [`rehearse`](Self::rehearse).
pub struct Histories {
    rehearsal: Rehearsal,
    cases: Option<u32>,
    within: Duration,
    model: Option<Box<dyn Model>>,
    file: Option<PathBuf>,
}

impl Rehearsal {
    /// Goes through histories that are drawn from the seed instead of through a scenario; see
    /// [`histories`](crate::histories). Writes of the rehearsal's own are made at the two releases
    /// only; those of the seeder, which knows any schema, at every boundary.
    #[must_use]
    pub fn histories(self) -> Histories {
        Histories {
            rehearsal: self,
            cases: None,
            within: DEFAULT_WITHIN,
            model: None,
            file: None,
        }
    }
}

impl Histories {
    /// Draws so many histories. Where nothing is said it is `UPGRADE_HISTORIES`, else
    /// [`DEFAULT_CASES`].
    #[must_use]
    pub fn cases(mut self, cases: u32) -> Self {
        self.cases = Some(cases);
        self
    }

    /// Begins no new history when this time is over ([`DEFAULT_WITHIN`] where nothing is said); a
    /// first one, and those that are saved, run in any case. One that fails is shortened for as
    /// long again.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Has this model write and judge, a fresh one in each history.
    #[must_use]
    pub fn model(mut self, model: impl Model) -> Self {
        self.model = Some(Box::new(model));
        self
    }

    /// Saves histories that fail in this file, and runs those first that it holds, instead of in
    /// the one that is named after the test.
    #[must_use]
    pub fn saved_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Runs the saved histories, then new ones, to the first that fails.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] with the shortest history that was found to fail, the report of its
    /// run, and where it was saved; the kind of the run's own error where that broke off;
    /// [`ErrorKind::InvalidInput`] when the saved ones cannot be read.
    pub async fn rehearse(self) -> Result<()> {
        let file = self.file()?;
        let saved = saved::read(&file)?;
        let between = self.model.is_none() && !self.rehearsal.has_writes();
        let cases = match self.cases {
            Some(cases) => cases,
            None => self.settings()?.histories.unwrap_or(DEFAULT_CASES),
        };
        let ready = Box::pin(self.rehearsal.ready()).await?;
        print(&format!("previous release: {}", ready.reason()));
        let search = Search {
            ready,
            model: self.model,
            file,
            within: self.within,
        };
        let outline = search.with_users().outline();
        search.replay(&outline, &saved).await?;
        search.draw(&outline, cases, between).await
    }

    fn settings(&self) -> Result<Settings> {
        match self.rehearsal.context() {
            Some(cx) => Ok(TestCase::of(cx)?.settings().clone()),
            None => Ok(Settings::from_env()?),
        }
    }

    /// The file of the histories that have failed.
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

impl fmt::Debug for Histories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histories")
            .field("rehearsal", &self.rehearsal)
            .field("cases", &self.cases)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// What every history needs.
struct Search {
    ready: Ready,
    model: Option<Box<dyn Model>>,
    file: PathBuf,
    within: Duration,
}

/// A history that did not end as it should.
struct Failure {
    history: History,
    plan: Plan,
    result: Result<Report>,
}

impl Search {
    /// With a fresh model, if there is one.
    fn with_users(&self) -> Ready {
        let ready = self.ready.clone();
        match &self.model {
            Some(model) => {
                let (writes, validator) = model::users(model.as_ref());
                ready.with_users(writes, validator)
            }
            None => ready,
        }
    }

    /// Runs the histories of the file, each from the previous release that it failed from.
    async fn replay(&self, outline: &Outline, all: &[Saved]) -> Result<()> {
        for saved in all {
            let plan = match Plan::from_history(outline, &saved.history, saved.seed) {
                Ok(plan) => plan,
                Err(error) => {
                    let file = self.file.display();
                    print(&format!(
                        "warning: {error}; it is skipped (delete it from `{file}`)"
                    ));
                    continue;
                }
            };
            let ready = self.with_users().with_rows(saved.seed, saved.rows);
            if let Some(failure) = judge(&ready, saved.history.clone(), plan, false).await? {
                return Err(self.told(failure, "was saved"));
            }
        }
        Ok(())
    }

    async fn draw(&self, outline: &Outline, cases: u32, between: bool) -> Result<()> {
        let seed = self.ready.rehearsal().drawn_from().0;
        let mut drawer = Drawer::new(outline, seed, between);
        let started = Instant::now();
        let mut ran = 0;
        while ran < cases && (ran == 0 || started.elapsed() < self.within) {
            let history = drawer.next()?;
            ran += 1;
            let plan = Plan::from_history(outline, &history, seed)?;
            if let Some(failure) = judge(&self.with_users(), history, plan, true).await? {
                let failure = self.shortest(outline, failure).await?;
                let kept = match saved::add(&self.file, &self.saved(&failure)) {
                    Ok(()) => "is saved",
                    Err(error) => {
                        print(&format!("warning: {error:?}"));
                        "could not be saved"
                    }
                };
                return Err(self.told(failure, kept));
            }
        }
        print(&format!(
            "{ran} of {cases} histories passed in {:.1?}",
            started.elapsed()
        ));
        Ok(())
    }

    /// The shortest one that fails, of those that follow from one that does.
    async fn shortest(&self, outline: &Outline, mut failure: Failure) -> Result<Failure> {
        let started = Instant::now();
        let long = failure.history.clone();
        let mut tried = vec![long.clone()];
        'shorter: loop {
            for history in shrink::shorter(&failure.history) {
                if started.elapsed() >= self.within {
                    break 'shorter;
                }
                let Ok(plan) = Plan::from_history(outline, &history, failure.plan.seed) else {
                    continue;
                };
                if tried.contains(&history) {
                    continue;
                }
                tried.push(history.clone());
                if let Some(shorter) = judge(&self.with_users(), history, plan, true).await? {
                    failure = shorter;
                    continue 'shorter;
                }
            }
            break;
        }
        print(&format!(
            "`{long}` fails; {} shorter ones were tried in {:.1?}",
            tried.len() - 1,
            started.elapsed(),
        ));
        Ok(failure)
    }

    fn saved(&self, failure: &Failure) -> Saved {
        let (seed, rows) = self.ready.rehearsal().drawn_from();
        Saved {
            history: failure.history.clone(),
            seed,
            rows,
            found: failure.found(),
        }
    }

    /// The error of a history that fails. Its report is written where the test keeps them.
    fn told(&self, failure: Failure, kept: &str) -> Error {
        if let Err(error) = self.ready.record(&failure.result, &failure.plan) {
            print(&format!("warning: {error:?}"));
        }
        let Failure {
            history, result, ..
        } = failure;
        let hint = format!(
            "it {kept} in `{}` and runs first next time",
            self.file.display()
        );
        match result {
            Ok(report) => {
                let undecided = report.findings.iter().all(|found| !found.finding.fails());
                let (kind, verdict) = if undecided {
                    (ErrorKind::Inconclusive, "could not be judged")
                } else {
                    (ErrorKind::Failed, "fails")
                };
                Error::new(kind, format!("the history `{history}` {verdict}"))
                    .with_hint(hint)
                    .with_report(report)
            }
            Err(error) => {
                let report = error.report().cloned();
                let told = Error::new(error.kind(), format!("the history `{history}` broke off"))
                    .with_hint(hint)
                    .with_source(error);
                match report {
                    Some(report) => told.with_report(report),
                    None => told,
                }
            }
        }
    }
}

impl Failure {
    /// In one line: what was found first.
    fn found(&self) -> String {
        match &self.result {
            Ok(report) => {
                let mut fatal = report.findings.iter().filter(|found| found.finding.fails());
                fatal.next().map_or_else(
                    || "it could not be judged".to_owned(),
                    |found| format!("{}: {}", found.finding.id, found.finding.subject),
                )
            }
            Err(error) => error.to_string(),
        }
    }
}

/// Runs one history. An error that no step of the run has raised says nothing about the history,
/// nor does a run that was cancelled.
async fn judge(
    ready: &Ready,
    history: History,
    plan: Plan,
    probe: bool,
) -> Result<Option<Failure>> {
    print(&format!("history: {history}"));
    // A run is large, and this one is awaited in two places.
    let result = Box::pin(ready.run(&plan, probe)).await;
    match &result {
        Ok(report) if report.passed => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Cancelled || !broke_in_history(error) => {
            return result.map(|_| None);
        }
        _ => {}
    }
    Ok(Some(Failure {
        history,
        plan,
        result,
    }))
}

/// Whether it was a step of the history that could not be carried out.
fn broke_in_history(error: &Error) -> bool {
    let in_history = |step: &StepReport| {
        let broke = matches!(step.outcome, StepOutcome::Error(_));
        broke && step.attempt > 0 && step.phase != Phase::Teardown
    };
    error
        .report()
        .is_some_and(|report| report.steps.iter().any(in_history))
}
