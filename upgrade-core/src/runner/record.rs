//! What the report of a run begins with, and what it says of each step.

use crate::context::UpgradeContext;
use crate::plan::{Plan, Step};
use crate::report::{self, CrashReport, MigrationReport, Report, StepOutcome, StepReport};
use crate::upgrade::Upgrade;

pub(super) fn recorded(step: &Step, outcome: StepOutcome, elapsed_ms: u64) -> StepReport {
    StepReport {
        id: step.id,
        attempt: step.attempt,
        phase: step.phase,
        title: step.action.to_string(),
        outcome,
        elapsed_ms,
        within_ms: step.within_ms,
    }
}

pub(super) fn blank(
    upgrade: &Upgrade,
    environment: &str,
    cx: &UpgradeContext,
    plan: &Plan,
    reproduce: Option<String>,
) -> Report {
    let touched = plan.migrations();
    Report {
        format: report::FORMAT,
        run: cx.run_id().clone(),
        name: plan.name.clone(),
        scenario: plan.scenario,
        environment: environment.to_owned(),
        from: plan.from.clone(),
        to: plan.to.clone(),
        seed: plan.seed,
        passed: false,
        rows: 0,
        tables: 0,
        steps: Vec::new(),
        migrations: upgrade
            .migrations()
            .iter()
            .filter(|migration| touched.contains(&migration.id()))
            .map(|migration| MigrationReport {
                id: migration.id().clone(),
                checksum: migration.checksum().to_string(),
                reversible: migration.reversibility().is_reversible(),
                applied: 0,
                crashed: 0,
                crash: CrashReport::default(),
                reverted: 0,
                rolled_back: 0,
                slowest_apply_ms: 0,
            })
            .collect(),
        rollbacks: Vec::new(),
        traffic: Vec::new(),
        findings: Vec::new(),
        unjudged: Vec::new(),
        logs: Vec::new(),
        reproduce,
        elapsed_ms: 0,
    }
}
