//! What rehearsals have passed, as a file that an operation can demand.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Proposal;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{MigrationId, RunId};
use crate::report::Report;
use crate::rollback::{Loss, LossKind, Safety, Timing};
use crate::saved;
use crate::scenario::Scenario;

/// The version of the format in which attestations are saved.
const FORMAT: u32 = 1;

/// What rehearsals have passed: which migrations, with which content, in which scenarios, which artifacts
/// of services, and which rollback strategies were verified. It is made from the reports of a test run, and carried to where the
/// upgrade is applied.
///
/// It says nothing about configuration, and it is not signed: keep it where only the build writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attestation {
    /// The version of this format.
    pub format: u32,
    /// The migrations that were rehearsed.
    pub migrations: Vec<Rehearsed>,
    /// The artifacts of services by which the new release was rehearsed, whatever the service was called.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub artifacts: BTreeSet<String>,
    /// The strategies whose rollback was verified at least once.
    pub strategies: BTreeSet<String>,
    /// What verified rollbacks have lost, by their strategies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<String, Vec<Loss>>,
    /// How long verified rollbacks took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timings: Vec<Timing>,
    /// The runs.
    pub runs: Vec<RunId>,
}

/// A migration that was rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rehearsed {
    /// Which one.
    pub id: MigrationId,
    /// Its content.
    pub checksum: String,
    /// The scenarios that it passed.
    pub scenarios: BTreeSet<Scenario>,
}

impl Attestation {
    /// What these reports attest, all of which passed.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] with a run that did not pass; [`ErrorKind::InvalidInput`] where two reports
    /// have different contents of one migration, or there is no report.
    pub fn of<'r>(reports: impl IntoIterator<Item = &'r Report>) -> Result<Self> {
        let mut attestation = Self {
            format: FORMAT,
            migrations: Vec::new(),
            artifacts: BTreeSet::new(),
            strategies: BTreeSet::new(),
            losses: BTreeMap::new(),
            timings: Vec::new(),
            runs: Vec::new(),
        };
        for report in reports {
            attestation.add(report)?;
        }
        if attestation.runs.is_empty() {
            let message = "there is no report of a rehearsal";
            return Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint("run the tests with `UPGRADE_REPORT_DIR` set to a folder"));
        }
        Ok(attestation)
    }

    fn add(&mut self, report: &Report) -> Result<()> {
        let of = format!(
            "`{}` of `{}`, run {}",
            report.scenario, report.name, report.run
        );
        if !report.passed {
            let message = format!("{of}: the rehearsal did not pass");
            return Err(Error::new(ErrorKind::Failed, message));
        }
        let unjudged = |id: &MigrationId| {
            let mut all = report.unjudged.iter();
            all.any(|unjudged| unjudged.migrations.contains(id))
        };
        for migration in &report.migrations {
            // What the run did not carry out it says nothing about.
            let done = match report.scenario {
                Scenario::Rollback => migration.rolled_back > 0,
                Scenario::RoundTrip => migration.reverted > 0,
                _ => migration.applied > 0,
            };
            if !done || unjudged(&migration.id) {
                continue;
            }
            let known = self
                .migrations
                .iter_mut()
                .find(|one| one.id == migration.id);
            match known {
                Some(known) if known.checksum != migration.checksum => {
                    let id = &migration.id;
                    let message = format!(
                        "{of}: migration `{id}` has another content than in an earlier report"
                    );
                    return Err(Error::new(ErrorKind::InvalidInput, message)
                        .with_hint("take the reports of one test run"));
                }
                Some(known) => {
                    known.scenarios.insert(report.scenario);
                }
                None => self.migrations.push(Rehearsed {
                    id: migration.id.clone(),
                    checksum: migration.checksum.clone(),
                    scenarios: [report.scenario].into(),
                }),
            }
        }
        self.artifacts.extend(report.artifacts.values().cloned());
        let verified = report.rollbacks.iter();
        for rollback in verified.filter(|rollback| rollback.confirmed) {
            self.strategies.insert(rollback.strategy.clone());
            self.timings.extend(Timing::of(rollback));
            if let Safety::SafeWithLoss { losses } = &rollback.safety {
                let known = self.losses.entry(rollback.strategy.clone()).or_default();
                for loss in losses {
                    if !known.iter().any(|one| one.subject == loss.subject) {
                        known.push(without_numbers(loss));
                    }
                }
            }
        }
        self.runs.push(report.run.clone());
        Ok(())
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an attestation has only string keys")
    }

    /// Reads one that was saved.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything else.
    pub fn from_json(json: &str) -> Result<Self> {
        saved::read(json, "attestation", FORMAT, "attest the reports again")
    }

    /// Refuses a proposal with anything that was not rehearsed, with all that is missing.
    pub(super) fn covers(&self, proposal: &Proposal, scenarios: &[Scenario]) -> Result<()> {
        let mut missing = Vec::new();
        for (id, checksum) in &proposal.world.pending {
            let Some(rehearsed) = self.migrations.iter().find(|one| one.id == *id) else {
                missing.push(format!("migration `{id}` was not rehearsed"));
                continue;
            };
            if rehearsed.checksum != checksum.as_str() {
                missing.push(format!(
                    "migration `{id}` was rehearsed with another content"
                ));
            }
            for scenario in scenarios {
                if !rehearsed.scenarios.contains(scenario) {
                    missing.push(format!("migration `{id}` did not pass `{scenario}`"));
                }
            }
        }
        for (service, artifact) in &proposal.world.artifacts.to {
            if !self.artifacts.contains(artifact) {
                missing.push(format!(
                    "the new release of service `{service}` was not rehearsed as {artifact}"
                ));
            }
        }
        if let Some(strategy) = proposal.strategy()
            && !self.strategies.contains(strategy)
        {
            missing.push(format!(
                "the rollback by {strategy} was not verified in any rehearsal"
            ));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = "the rehearsals do not cover this upgrade, and nothing was done";
        Err(Error::new(ErrorKind::Refused, message)
            .with_context("missing", missing.join("; "))
            .with_hint("run the tests of exactly this release, and attest their reports"))
    }
}

/// A loss as it is on any data.
fn without_numbers(loss: &Loss) -> Loss {
    let what = match loss.kind {
        LossKind::Rows => "its rows",
        LossKind::Values => "its values",
        LossKind::Writes => "what is written to it after the upgrade began",
        LossKind::Other => loss.message.as_str(),
    };
    Loss::new(loss.kind, loss.subject.clone(), what)
}
