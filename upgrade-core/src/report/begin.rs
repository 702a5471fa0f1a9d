//! What the report of a run begins with.

use std::collections::BTreeMap;

use super::{CrashReport, FORMAT, MigrationReport, Report};
use crate::ids::RunId;
use crate::plan::Plan;
use crate::upgrade::Upgrade;

impl Report {
    /// A report of a run in which nothing was done yet.
    pub(crate) fn begin(
        upgrade: &Upgrade,
        environment: &str,
        run: &RunId,
        plan: &Plan,
        reproduce: Option<String>,
    ) -> Self {
        let touched = plan.migrations();
        Self {
            format: FORMAT,
            run: run.clone(),
            name: plan.name.clone(),
            scenario: plan.scenario,
            environment: environment.to_owned(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            folder: None,
            validators: upgrade
                .validators()
                .iter()
                .map(|validator| validator.name().to_owned())
                .collect(),
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
            artifacts: BTreeMap::new(),
            schema: Vec::new(),
            rollbacks: Vec::new(),
            traffic: Vec::new(),
            findings: Vec::new(),
            measurements: Vec::new(),
            attachments: Vec::new(),
            unjudged: Vec::new(),
            logs: Vec::new(),
            reproduce,
            elapsed_ms: 0,
        }
    }
}
