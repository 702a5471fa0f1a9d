//! The planner: outline, scenario and seed in, steps out. No IO, no clock, no randomness.

mod crash;
mod history;
mod order;

use std::time::Duration;

use super::{
    Action, BASELINE, Equal, FORMAT, History, MigrationOutline, Outline, Plan, Step, StepId,
    StrategyOutline,
};
use crate::error::{Error, ErrorKind, Result};
use crate::migration::{MigrationId, Reversibility};
use crate::scenario::Scenario;
use crate::version::Phase;

const HEAD: &str = "head";
const WRITTEN: &str = "written";

pub(super) fn plan(outline: &Outline, scenario: Scenario, seed: u64) -> Result<Plan> {
    require(outline, scenario)?;
    let mut draft = Draft::begun(outline, seed);
    match scenario {
        Scenario::Control => draft.control(),
        Scenario::Straight => draft.straight(),
        Scenario::RoundTrip => draft.round_trip(),
        Scenario::RollbackAt => draft.rollback_at(),
        Scenario::Repeat => draft.repeat(),
        Scenario::LateBranch => draft.late_branch(),
        Scenario::FreshInstall => draft.fresh_install(),
        Scenario::EveryRelease => draft.every_release(seed),
        Scenario::CrashAt => draft.crash_at(seed),
    }
    Ok(draft.end(scenario, seed))
}

/// Up and down in an order of its own; that it is possible is known.
pub(super) fn plan_history(outline: &Outline, history: &History, seed: u64) -> Result<Plan> {
    let scenario = Scenario::RoundTrip;
    require(outline, scenario)?;
    let mut draft = Draft::begun(outline, seed);
    draft.history(history);
    Ok(draft.end(scenario, seed))
}

/// Whether the scenario can be planned at all.
fn require(outline: &Outline, scenario: Scenario) -> Result<()> {
    let unsupported = |what: &str, hint: &str| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("scenario `{scenario}` of `{}` needs {what}", outline.name),
        )
        .with_hint(hint))
    };
    if scenario != Scenario::Control
        && outline.migrations.is_empty()
        && !outline.capabilities.services
    {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "nothing is pending between `{}` and `{}` of `{}`",
                outline.from, outline.to, outline.name
            ),
        )
        .with_hint("name an earlier release with `from`"));
    }
    let begins_empty = matches!(scenario, Scenario::FreshInstall | Scenario::EveryRelease);
    if begins_empty && !outline.capabilities.empty {
        return unsupported(
            "an environment that can be emptied",
            "run it in staging, on a database that the library has made",
        );
    }
    let rehearses = !matches!(scenario, Scenario::Control | Scenario::Straight);
    if rehearses && !outline.capabilities.snapshots {
        return unsupported(
            "an environment that can take snapshots",
            "run it in staging, where databases may be copied",
        );
    }
    if scenario == Scenario::CrashAt && !outline.capabilities.faults {
        return unsupported(
            "an environment in which faults may be injected",
            "run it in staging, where sessions may be terminated",
        );
    }
    if matches!(scenario, Scenario::RollbackAt | Scenario::CrashAt) && outline.strategies.is_empty()
    {
        return unsupported("a way back", "add one with `Upgrade::with_rollback`");
    }
    Ok(())
}

struct Draft<'a> {
    outline: &'a Outline,
    seed: u64,
    steps: Vec<Step>,
    attempt: u32,
}

impl<'a> Draft<'a> {
    fn begun(outline: &'a Outline, seed: u64) -> Self {
        let mut draft = Self {
            outline,
            seed,
            steps: Vec::new(),
            attempt: 0,
        };
        draft.begin();
        draft
    }

    fn end(mut self, scenario: Scenario, seed: u64) -> Plan {
        self.push(Phase::Teardown, Action::Teardown);
        let outline = self.outline;
        Plan {
            format: FORMAT,
            name: outline.name.clone(),
            scenario,
            seed,
            from: outline.from.clone(),
            to: outline.to.clone(),
            rollback_within_ms: millis(outline.rollback_within),
            steps: self.steps,
        }
    }
}

impl Draft<'_> {
    fn push(&mut self, phase: Phase, action: Action) {
        let budget = match action {
            Action::RollBack { .. } => self.outline.rollback_within,
            _ => self.outline.step_within,
        };
        let id = StepId(u32::try_from(self.steps.len() + 1).unwrap_or(u32::MAX));
        let within_ms = millis(budget);
        self.steps.push(Step {
            id,
            attempt: self.attempt,
            phase,
            action,
            within_ms,
        });
    }

    /// What every scenario begins with: the previous release, measured and found good.
    fn begin(&mut self) {
        self.push(Phase::Provision, Action::Provision);
        if self.outline.capabilities.snapshots {
            self.push(
                Phase::Baseline,
                Action::Snapshot {
                    label: BASELINE.to_owned(),
                },
            );
        }
        self.push(
            Phase::Baseline,
            Action::Observe {
                label: BASELINE.to_owned(),
            },
        );
        self.push(Phase::Baseline, Action::Validate);
    }

    fn control(&mut self) {
        self.attempt = 1;
        self.push(Phase::Verify, Action::Validate);
        self.compare(Phase::Verify, BASELINE, Equal::Everything);
    }

    fn straight(&mut self) {
        self.attempt = 1;
        self.inspect();
        let all = self.ids(0..self.outline.migrations.len());
        let strategy = self.preferred(&self.outline.migrations).cloned();
        if let Some(strategy) = &strategy {
            let name = || strategy.name.clone();
            self.push(
                Phase::Preflight,
                Action::PrepareRollback { strategy: name() },
            );
            self.push(
                Phase::Preflight,
                Action::CheckRollback {
                    strategy: name(),
                    applied: all.clone(),
                },
            );
        }
        for migration in all {
            self.push(Phase::Expand, Action::Apply { migration });
        }
        if self.outline.capabilities.services {
            self.push(
                Phase::Switch,
                Action::Replace {
                    version: self.outline.to.clone(),
                },
            );
        }
        self.push(Phase::Soak, Action::Validate);
        self.compare(Phase::Soak, BASELINE, Equal::SharedRows);
        if let Some(strategy) = strategy {
            self.push(
                Phase::Finalize,
                Action::Finalize {
                    strategy: strategy.name,
                },
            );
            self.push(Phase::Verify, Action::Validate);
        }
    }

    /// Each migration up, down, up from the state before it; then all up, all down, all up. A
    /// one-way migration is put back by snapshot instead, so that what lies above it is tried too.
    /// Where it is known what users write, each reversible one goes once more, with their rows.
    fn round_trip(&mut self) {
        let outline = self.outline;
        self.attempt = 1;
        self.inspect();
        let mut before = BASELINE.to_owned();
        for migration in &outline.migrations {
            self.attempt += 1;
            let id = &migration.id;
            let after = format!("after {}", id.version());
            self.push(
                Phase::Baseline,
                Action::Restore {
                    label: before.clone(),
                },
            );
            self.push(
                Phase::Expand,
                Action::Apply {
                    migration: id.clone(),
                },
            );
            self.push(
                Phase::Expand,
                Action::Snapshot {
                    label: after.clone(),
                },
            );
            self.push(
                Phase::Expand,
                Action::Observe {
                    label: after.clone(),
                },
            );
            self.compare(Phase::Expand, &before, Equal::SharedRows);
            if migration.reversibility.is_reversible() {
                self.push(
                    Phase::Rollback,
                    Action::Revert {
                        migration: id.clone(),
                    },
                );
            } else {
                self.push(
                    Phase::Rollback,
                    Action::Restore {
                        label: before.clone(),
                    },
                );
            }
            self.compare(Phase::Rollback, &before, Equal::Everything);
            self.push(
                Phase::Expand,
                Action::Apply {
                    migration: id.clone(),
                },
            );
            self.compare(Phase::Verify, &after, Equal::Schema);
            self.compare(Phase::Verify, &before, Equal::SharedRows);
            self.late_writes(&before, std::slice::from_ref(migration));
            before = after;
        }
        self.attempt += 1;
        self.push(
            Phase::Baseline,
            Action::Restore {
                label: BASELINE.to_owned(),
            },
        );
        self.apply_all();
        self.push(Phase::Expand, Action::Validate);
        self.push(
            Phase::Expand,
            Action::Observe {
                label: HEAD.to_owned(),
            },
        );
        if outline
            .migrations
            .iter()
            .all(|migration| migration.reversibility.is_reversible())
        {
            for migration in outline.migrations.iter().rev() {
                self.push(
                    Phase::Rollback,
                    Action::Revert {
                        migration: migration.id.clone(),
                    },
                );
            }
        } else {
            self.push(
                Phase::Rollback,
                Action::Restore {
                    label: BASELINE.to_owned(),
                },
            );
        }
        self.compare(Phase::Rollback, BASELINE, Equal::Everything);
        self.push(Phase::Rollback, Action::Validate);
        self.apply_all();
        self.compare(Phase::Verify, HEAD, Equal::Schema);
        self.compare(Phase::Verify, BASELINE, Equal::SharedRows);
        self.push(Phase::Verify, Action::Validate);
        if outline.migrations.len() > 1 {
            self.late_writes(BASELINE, &outline.migrations);
        }
    }

    /// Up, users write, down and up again: what they wrote has to be there both times.
    fn late_writes(&mut self, before: &str, migrations: &[MigrationOutline]) {
        let reversible = |migration: &MigrationOutline| migration.reversibility.is_reversible();
        if !self.outline.writes || !migrations.iter().all(reversible) {
            return;
        }
        self.attempt += 1;
        self.push(
            Phase::Baseline,
            Action::Restore {
                label: before.to_owned(),
            },
        );
        let ids: Vec<MigrationId> = migrations.iter().map(|one| one.id.clone()).collect();
        for migration in ids.clone() {
            self.push(Phase::Expand, Action::Apply { migration });
        }
        self.write();
        for migration in ids.iter().rev().cloned() {
            self.push(Phase::Rollback, Action::Revert { migration });
        }
        self.compare(Phase::Rollback, WRITTEN, Equal::Written);
        for migration in ids {
            self.push(Phase::Expand, Action::Apply { migration });
        }
        self.compare(Phase::Verify, WRITTEN, Equal::Written);
    }

    /// Users write, and the state that they leave is kept.
    fn write(&mut self) {
        let seed = self.seed.wrapping_add(u64::from(self.attempt));
        self.push(Phase::Soak, Action::Write { seed });
        self.push(
            Phase::Soak,
            Action::Snapshot {
                label: WRITTEN.to_owned(),
            },
        );
        self.push(
            Phase::Soak,
            Action::Observe {
                label: WRITTEN.to_owned(),
            },
        );
    }

    /// Up to every boundary and back, by every way back that can cross it; at last up again.
    fn rollback_at(&mut self) {
        for boundary in 1..=self.outline.migrations.len() {
            for strategy in self.applicable(boundary) {
                self.attempt += 1;
                let applied = self.ids(0..boundary);
                self.prepared(&strategy);
                for migration in applied.clone() {
                    self.push(Phase::Expand, Action::Apply { migration });
                }
                self.roll_back(strategy, applied);
            }
        }
        if self.outline.writes {
            for strategy in self.applicable(self.outline.migrations.len()) {
                self.attempt += 1;
                self.prepared(&strategy);
                self.apply_all();
                self.write();
                self.push(
                    Phase::Rollback,
                    Action::RollBack {
                        strategy: strategy.name,
                        applied: self.ids(..),
                    },
                );
                self.compare(Phase::Verify, WRITTEN, Equal::Written);
                self.push(Phase::Verify, Action::Validate);
            }
        }
        self.attempt += 1;
        self.push(
            Phase::Baseline,
            Action::Restore {
                label: BASELINE.to_owned(),
            },
        );
        self.apply_all();
        self.compare(Phase::Verify, BASELINE, Equal::SharedRows);
        self.push(Phase::Verify, Action::Validate);
    }

    /// From the baseline, with a way back that keeps what it needs.
    fn prepared(&mut self, strategy: &StrategyOutline) {
        self.push(
            Phase::Baseline,
            Action::Restore {
                label: BASELINE.to_owned(),
            },
        );
        self.push(
            Phase::Preflight,
            Action::PrepareRollback {
                strategy: strategy.name.clone(),
            },
        );
    }

    fn roll_back(&mut self, strategy: StrategyOutline, applied: Vec<MigrationId>) {
        self.push(
            Phase::Rollback,
            Action::RollBack {
                strategy: strategy.name,
                applied,
            },
        );
        self.compare(Phase::Verify, BASELINE, Equal::Everything);
        self.push(Phase::Verify, Action::Validate);
    }

    fn restore(&mut self, label: &str) {
        let label = label.to_owned();
        self.push(Phase::Baseline, Action::Restore { label });
    }

    fn apply_all(&mut self) {
        self.apply_up_to(self.outline.migrations.len());
    }

    fn apply_up_to(&mut self, end: usize) {
        for migration in self.ids(0..end) {
            self.push(Phase::Expand, Action::Apply { migration });
        }
    }

    fn compare(&mut self, phase: Phase, with: &str, equal: Equal) {
        // Rows that two releases share are read on both sides, so the older side must be kept.
        if equal == Equal::SharedRows && !self.outline.capabilities.snapshots {
            return;
        }
        self.push(
            phase,
            Action::Compare {
                with: with.to_owned(),
                equal,
            },
        );
    }

    fn inspect(&mut self) {
        let asked = self.outline.reversible;
        let irreversible: Vec<_> = self
            .outline
            .migrations
            .iter()
            .filter(|_| asked)
            .filter_map(|migration| match &migration.reversibility {
                Reversibility::Reversible => None,
                Reversibility::Irreversible { reason } => {
                    Some((migration.id.clone(), reason.clone()))
                }
            })
            .collect();
        self.push(Phase::Preflight, Action::Inspect { irreversible });
    }

    fn ids(
        &self,
        range: impl std::slice::SliceIndex<[MigrationOutline], Output = [MigrationOutline]>,
    ) -> Vec<MigrationId> {
        self.outline.migrations[range]
            .iter()
            .map(|migration| migration.id.clone())
            .collect()
    }

    /// The ways back that can cross the first `count` migrations.
    fn applicable(&self, count: usize) -> Vec<StrategyOutline> {
        let crossed = &self.outline.migrations[..count];
        self.outline
            .strategies
            .iter()
            .filter(|strategy| can_cross(strategy, crossed))
            .cloned()
            .collect()
    }

    fn preferred(&self, crossed: &[MigrationOutline]) -> Option<&StrategyOutline> {
        self.outline
            .strategies
            .iter()
            .find(|strategy| can_cross(strategy, crossed))
    }
}

fn can_cross(strategy: &StrategyOutline, crossed: &[MigrationOutline]) -> bool {
    !strategy.requires_reversible
        || crossed
            .iter()
            .all(|migration| migration.reversibility.is_reversible())
}

fn millis(budget: Duration) -> u64 {
    u64::try_from(budget.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
