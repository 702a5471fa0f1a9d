//! A rehearsal whose releases are found and whose server is there, to be carried out any number of
//! times, each time on a separate database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use upgrade_core::environment::{PostgresEnvironment, ProcessEnvironment};
use upgrade_core::event::EventRecord;
use upgrade_core::plan::Outline;
use upgrade_core::report::StepOutcome;
use upgrade_core::{
    Environment, Event, EventSink, Plan, Report, Result, Runner, UpgradeContext, Validator, Writes,
};

use super::Rehearsal;
use super::populated::Populated;
use super::release::{self, Releases};
use crate::case::TestCase;
use crate::display::{self, CapturedLines};
use crate::known::Known;
use crate::pool::Pool;

/// Everything that a run needs but its plan.
#[derive(Clone)]
pub(crate) struct Ready {
    rehearsal: Rehearsal,
    releases: Releases,
    /// Where the databases come from, unless the rehearsal has custom environments.
    pool: Option<Pool>,
}

impl Ready {
    pub(super) async fn of(mut rehearsal: Rehearsal) -> Result<Self> {
        rehearsal.known = Known::of_package(&rehearsal.base)?;
        for over in rehearsal.known.over() {
            display::print(over);
        }
        let releases = release::resolve(&rehearsal).await?;
        rehearsal.leave_out_record(&releases);
        let pool = match rehearsal.environment {
            Some(_) => None,
            None => Some(Pool::connect(rehearsal.pool_options()?).await?),
        };
        Ok(Self {
            rehearsal,
            releases,
            pool,
        })
    }

    /// The same, with another previous release: generated from this seed, with `rows` rows in each
    /// table.
    #[must_use]
    pub(crate) fn with_rows(mut self, seed: u64, rows: u32) -> Self {
        (self.rehearsal.seed, self.rehearsal.rows) = (seed, rows);
        self
    }

    /// The same, with users who write this and are asked for it.
    #[must_use]
    pub(crate) fn with_users(mut self, writes: Writes, validator: Arc<dyn Validator>) -> Self {
        let upgrade = self.releases.upgrade.with_writes(writes);
        self.releases.upgrade = upgrade.with_validator(validator);
        self
    }

    /// Whether it is said what users write.
    pub(crate) fn has_writes(&self) -> bool {
        !self.releases.upgrade.writes().is_empty()
    }

    pub(crate) fn rehearsal(&self) -> &Rehearsal {
        &self.rehearsal
    }

    pub(super) fn releases(&self) -> &Releases {
        &self.releases
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// Why the previous release is the one that it is.
    pub(crate) fn reason(&self) -> &str {
        &self.releases.reason
    }

    /// The context of the test that it belongs to.
    pub(crate) fn context(&self) -> Option<&UpgradeContext> {
        self.rehearsal.case.as_ref()
    }

    fn environment(&self, failed: Arc<AtomicBool>) -> Result<Box<dyn Environment>> {
        let (rehearsal, releases) = (&self.rehearsal, &self.releases);
        match (&rehearsal.environment, &self.pool) {
            (None, Some(pool)) => {
                let source = Populated::new(pool.clone(), rehearsal, releases, failed);
                let environment = PostgresEnvironment::new("postgres", source)
                    .with_observer(rehearsal.observer.clone());
                let programs = &rehearsal.programs;
                if programs.is_empty() {
                    return Ok(Box::new(environment));
                }
                let environment = ProcessEnvironment::new(environment);
                Ok(Box::new(
                    programs
                        .iter()
                        .cloned()
                        .fold(environment, ProcessEnvironment::with_program),
                ))
            }
            (Some(make), _) => make(releases.upgrade.from(), releases.upgrade.to()),
            (None, None) => unreachable!("a rehearsal without environments has a pool"),
        }
    }

    pub(crate) fn outline(&self) -> Result<Outline> {
        let environment = self.environment(Arc::default())?;
        let upgrade = self.rehearsal.upgrade(&self.releases);
        upgrade.outline_in(&*environment)
    }

    /// One run, on a separate database. Of a `probe`, one of many, no database is kept after a
    /// failure, and nothing is shown unless everything is.
    pub(crate) async fn run(&self, plan: &Plan, probe: bool) -> Result<Report> {
        let failed = Arc::new(AtomicBool::new(false));
        let environment = self.environment(Arc::clone(&failed))?;
        let mut runner = Runner::boxed(self.rehearsal.upgrade(&self.releases), environment);
        if !probe {
            runner = runner.with_sink(Failed(failed));
        }
        for sink in &self.rehearsal.sinks {
            let sink = Arc::clone(sink);
            runner = runner.with_sink(move |record: &EventRecord| sink.record(record));
        }
        if let Some(cx) = self.context() {
            let case = TestCase::of(cx)?;
            case.has_rehearsed();
            let settings = case.settings();
            if !probe || settings.verbose {
                runner = runner.with_sink(CapturedLines::of_settings(settings));
            }
            runner = runner
                .with_reproduce(case.reproduce())
                .with_cancellation(cx.cancellation().clone());
        }
        let folder = self.rehearsal.folder_in_repository();
        match runner.run(plan).await {
            Ok(mut report) => {
                report.folder = folder;
                Ok(report)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the report of a run where the test keeps its reports, and says where.
    pub(crate) fn record(&self, result: &Result<Report>, plan: &Plan) -> Result<()> {
        let Some(cx) = self.context() else {
            return Ok(());
        };
        for (pattern, reason) in self.rehearsal.observer.stale_waivers() {
            display::print(&format!(
                "nothing matched the waiver `{pattern}` ({reason})"
            ));
        }
        let report = match result {
            Ok(report) => Some(report),
            Err(error) => error.report(),
        };
        if let Some(report) = report {
            let path = TestCase::of(cx)?.record(report, plan)?;
            display::print(&format!("report: {}", path.display()));
            if !report.passed && !self.rehearsal.keep {
                display::print("to keep the database after a failure: UPGRADE_TEST_KEEP=1");
            }
        }
        Ok(())
    }
}

/// Remembers whether anything went wrong, for whoever has to decide what to keep.
struct Failed(Arc<AtomicBool>);

impl EventSink for Failed {
    fn record(&self, record: &EventRecord) {
        if let Event::StepFinished { outcome, .. } = &record.event
            && !matches!(outcome, StepOutcome::Done)
        {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
