//! What a run intends and does, written into its journal.

use std::time::Duration;

use super::deadline::within_reach;
use super::state::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::journal::{Ended, Entry};
use crate::observation::Scope;
use crate::operation::schema_hash;
use crate::outcome::StepOutcome;
use crate::plan::{Action, Step};
use crate::rollback::Prepared;

impl Run<'_> {
    /// Writes that the run begins.
    pub(super) async fn write_plan(&self, cx: &UpgradeContext) -> Result<()> {
        let plan = Box::new(self.plan.clone());
        let touched = plan.migrations();
        let migrations = self.upgrade.migrations().iter();
        let applied = migrations.filter(|migration| touched.contains(&migration.id()));
        let contents = applied
            .map(|migration| (migration.id().clone(), migration.checksum()))
            .collect();
        let entry = Entry::Planned { plan, contents };
        self.write(cx, entry).await.map(drop)
    }

    /// Writes that a step is about to act; the number of that record.
    pub(super) async fn write_intent(&self, cx: &UpgradeContext, step: &Step) -> Result<u64> {
        let checksum = match &step.action {
            Action::Apply { migration } | Action::Revert { migration } => {
                let mut all = self.upgrade.migrations().iter();
                let migration = all.find(|one| one.id() == migration);
                migration.map(|migration| migration.checksum())
            }
            _ => None,
        };
        let entry = Entry::Intent {
            step: step.id,
            phase: step.phase,
            action: step.action.clone(),
            checksum,
        };
        self.write(cx, entry).await
    }

    /// Writes what an intent came to.
    pub(super) async fn write_end(
        &self,
        cx: &UpgradeContext,
        step: &Step,
        intent: u64,
        outcome: &StepOutcome,
    ) -> Result<()> {
        // A rollback that is proven has arrived, also where it was late.
        let mut rollbacks = self.report.rollbacks.iter();
        let proven = matches!(step.action, Action::RollBack { .. })
            && rollbacks.any(|rollback| rollback.step == step.id && rollback.confirmed);
        let ended = match outcome {
            _ if proven => Ended::Done,
            StepOutcome::Done => Ended::Done,
            StepOutcome::Error(failure) => Ended::Failed(failure.to_string()),
            StepOutcome::Inconclusive(reason) => Ended::Failed(reason.clone()),
            StepOutcome::Failed | StepOutcome::Skipped => {
                let found = self.report.findings.iter();
                let of_step = found.filter(|found| found.step == step.id);
                let of_step = of_step.map(|found| &found.finding);
                let failed = of_step.filter(|finding| finding.fails());
                let said = failed.map(
                    |Finding {
                         id,
                         subject,
                         message,
                         ..
                     }| { format!("{id}: {subject}: {message}") },
                );
                Ended::Failed(said.collect::<Vec<_>>().join("; "))
            }
        };
        self.write(cx, Entry::Done { intent, ended })
            .await
            .map(drop)
    }

    /// Writes what the last of the changes has left in a real system, so that a rollback can tell whether
    /// somebody else has changed it since. It is no more than a help: without it nothing is refused.
    pub(super) async fn write_reached(&mut self, cx: &UpgradeContext, step: &Step) {
        let to = &self.plan.to;
        let later = self.plan.steps.iter().filter(|later| later.id > step.id);
        let is_last =
            step.action.advances(to) && !later.into_iter().any(|one| one.action.advances(to));
        if self.journal.is_none() || self.environment.is_disposable() || !is_last {
            return;
        }
        let within = Duration::from_millis(step.within_ms);
        let cx = self.context(cx, step.phase, within);
        let reached = async {
            let now = self.look(&cx, &At::Live, &Scope::Schema).await?;
            let schema = schema_hash(&now);
            self.write(&cx, Entry::Reached { schema }).await
        };
        if let Err(error) = within_reach(&cx, "observe what was reached", reached).await {
            tracing::warn!(?error, "what the upgrade has left is not in the journal");
        }
    }

    /// Remembers what a strategy keeps.
    pub(super) async fn keep_prepared(
        &mut self,
        cx: &UpgradeContext,
        strategy: &str,
        prepared: Prepared,
    ) -> Result<()> {
        let entry = Entry::Kept {
            strategy: strategy.to_owned(),
            prepared: prepared.clone(),
        };
        // In memory in any case: it is there, and this run may give it up or roll back with it.
        self.kept.insert(strategy.to_owned(), prepared);
        self.write(cx, entry).await.map(drop)
    }

    /// Writes an entry; 0 where there is no journal.
    async fn write(&self, cx: &UpgradeContext, entry: Entry) -> Result<u64> {
        let Some(journal) = &self.journal else {
            return Ok(0);
        };
        let shown = match &entry {
            // A schema, in which `password = x` is an expression.
            Entry::Kept { .. } => cx.secrets().redact_known_data(entry.clone()),
            _ => cx.secrets().redact_data(entry.clone()),
        };
        let shown = shown.ok_or_else(|| {
            let message = "the secrets of the run could not be taken out of a record";
            Error::new(ErrorKind::Internal, message)
        })?;
        entry.may_be_shown_as(&shown)?;
        let written = journal.append(Some(cx.run_id()), shown).await;
        let record = written.map_err(|error| {
            error.with_hint(
                "nothing is done without its record; go on with a journal that can be written",
            )
        })?;
        Ok(record.seq)
    }
}
