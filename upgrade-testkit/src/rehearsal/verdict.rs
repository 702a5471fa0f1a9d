//! From a rehearsal to its verdict: the run, and what is accepted of what it found.

use upgrade_core::{Error, ErrorKind, Plan, Report, Result, Scenario};

use super::{Ready, Rehearsal, operation};
use crate::case::TestCase;
use crate::settings::Settings;
use crate::{display, known};

impl Rehearsal {
    /// Rehearses, and is an error unless the upgrade passes.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] with the report when the upgrade is bad; any other kind when that
    /// could not be told.
    pub async fn rehearse(self) -> Result<()> {
        let report = self.report().await?;
        if report.passed {
            return Ok(());
        }
        let undecided = report.findings.iter().all(|found| !found.finding.fails());
        let (kind, verdict) = if undecided {
            (ErrorKind::Inconclusive, "could not be judged")
        } else {
            (ErrorKind::Failed, "failed")
        };
        Err(Error::new(kind, format!("the upgrade {verdict}")).with_report(report))
    }

    /// Rehearses and gives the report, good or bad.
    ///
    /// # Errors
    /// Any kind, when it could not be told whether the upgrade is good.
    pub async fn report(self) -> Result<Report> {
        // On the heap: a test waits for it.
        Box::pin(self.reported()).await
    }

    async fn reported(self) -> Result<Report> {
        loop {
            let ready = self.clone().ready().await?;
            let rehearsal = ready.rehearsal();
            if rehearsal.scenario == Scenario::Operation && rehearsal.plan.is_none() {
                return self.operation(&ready).await;
            }
            let plan = match &rehearsal.plan {
                Some(plan) => plan.clone(),
                None => Plan::new(&ready.outline()?, rehearsal.scenario, rehearsal.seed)?,
            };
            if ready.context().is_some() {
                display::print(&format!("previous release: {}", ready.reason()));
            }
            let result = ready.run(&plan, false).await;
            let accepted = match &result {
                Ok(report) => self.accepts(report),
                Err(_) => Ok(false),
            };
            // What is accepted may have hidden more.
            if !matches!(accepted, Ok(true)) {
                ready.record(&result, &plan)?;
                accepted?;
                return result;
            }
        }
    }

    /// Rehearses the life of an operation.
    async fn operation(&self, ready: &Ready) -> Result<Report> {
        if let Some(cx) = ready.context() {
            TestCase::of(cx)?.has_rehearsed();
            display::print(&format!("previous release: {}", ready.reason()));
        }
        let (report, plan) = operation::rehearse(ready).await?;
        let result = Ok(report);
        ready.record(&result, &plan)?;
        result
    }

    /// Accepts what failed, where that is asked for; whether there was anything.
    fn accepts(&self, report: &Report) -> Result<bool> {
        let settings = match &self.case {
            Some(cx) => TestCase::of(cx)?.settings().clone(),
            None => Settings::from_env()?,
        };
        if !settings.accept || report.passed {
            return Ok(false);
        }
        if settings.ci {
            let message = "`UPGRADE_ACCEPT=1` is refused where `CI` is set";
            return Err(Error::new(ErrorKind::Refused, message)
                .with_hint("accept on a machine of a person, and commit the file")
                .with_report(report.clone()));
        }
        let accepted = known::accept(&self.base, report)?;
        if accepted > 0 {
            let file = known::place(&self.base);
            display::print(&format!("accepted: {accepted}, in {}", file.display()));
        }
        Ok(accepted > 0)
    }
}
