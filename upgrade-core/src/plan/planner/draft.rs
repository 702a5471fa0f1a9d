//! A plan that is being written, and the steps that scenarios are put together from.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::super::{Difference, FORMAT, OnFailure, Policy, Step, StepId};
use super::{
    Action, BASELINE, Equal, MigrationOutline, Outline, Plan, Scenario, StrategyOutline, WRITTEN,
    can_cross,
};
use crate::ids::MigrationId;
use crate::ids::Phase;
use crate::side::Candidate;

pub(super) struct Draft<'a> {
    pub(super) outline: &'a Outline,
    pub(super) seed: u64,
    pub(super) attempt: u32,
    scenario: Scenario,
    steps: Vec<Step>,
    /// At how many places a fault could have been injected.
    pub(super) places: u32,
    /// The moves of migrations that are monitored: whether up, and which one.
    monitored: BTreeSet<(bool, MigrationId)>,
}

impl<'a> Draft<'a> {
    /// The previous release, and nothing else yet.
    pub(super) fn provisioned(outline: &'a Outline, scenario: Scenario, seed: u64) -> Self {
        let mut draft = Self {
            outline,
            seed,
            attempt: 0,
            scenario,
            steps: Vec::new(),
            places: 0,
            monitored: BTreeSet::new(),
        };
        // Whatever may be thrown away was made for this; a real system is there, and stays.
        draft.push(
            Phase::Provision,
            match outline.capabilities.disposable {
                true => Action::Provision,
                false => Action::Attach,
            },
        );
        draft
    }

    /// What every scenario begins with: the previous release, measured and found good.
    pub(super) fn begun(outline: &'a Outline, scenario: Scenario, seed: u64) -> Self {
        let mut draft = Self::provisioned(outline, scenario, seed);
        if outline.capabilities.snapshots {
            draft.snapshot(Phase::Baseline, BASELINE);
        }
        draft.observe(Phase::Baseline, BASELINE);
        draft.validate(Phase::Baseline);
        draft
    }

    pub(super) fn end(mut self) -> Plan {
        self.push(
            Phase::Teardown,
            match self.outline.capabilities.disposable {
                true => Action::Teardown,
                false => Action::Detach,
            },
        );
        let outline = self.outline;
        Plan {
            format: FORMAT,
            name: outline.name.clone(),
            scenario: self.scenario,
            seed: self.seed,
            from: outline.from.clone(),
            to: outline.to.clone(),
            rollback_within_ms: millis(outline.rollback_within),
            excluded: self.excluded(),
            steps: self.steps,
        }
    }

    pub(super) fn scenario(&self) -> Scenario {
        self.scenario
    }

    pub(super) fn push(&mut self, phase: Phase, action: Action) {
        let mut policy = self.policy(phase, &action);
        if let Some(migration) = moved(&action)
            && policy.monitor
        {
            policy.monitor = self.monitored.insert(migration);
        }
        self.push_with(phase, action, policy);
    }

    /// The same, with a policy that the scenario does not decide.
    pub(super) fn push_with(&mut self, phase: Phase, action: Action, policy: Policy) {
        let budget = match &action {
            Action::RollBack { .. } => self.outline.rollback_within,
            Action::Watch { policy } => {
                self.outline.step_within + Duration::from_millis(policy.for_ms)
            }
            _ => self.outline.step_within,
        };
        let id = StepId(u32::try_from(self.steps.len() + 1).unwrap_or(u32::MAX));
        self.steps.push(Step {
            id,
            attempt: self.attempt,
            phase,
            action,
            within_ms: millis(budget),
            policy,
        });
    }

    /// A step during which nobody makes requests and nothing is monitored, whatever the scenario.
    pub(super) fn push_alone(&mut self, phase: Phase, action: Action) {
        let policy = Policy::default().with_on_failure(OnFailure::Continue);
        self.push_with(phase, action, policy);
    }

    /// What the runner does beside a step of this scenario, and when the step fails.
    fn policy(&self, phase: Phase, action: &Action) -> Policy {
        let scenario = self.scenario;
        let users = match action {
            Action::Apply { .. }
            | Action::Replace { .. }
            | Action::ReplaceFirst { .. }
            | Action::RollBack { .. }
            | Action::InjectFault { .. }
            | Action::Recover { .. }
            | Action::Validate => matches!(scenario, Scenario::Upgrade | Scenario::Rolling),
            Action::Write { .. } => scenario == Scenario::Rolling,
            _ => false,
        };
        let difference = match (scenario, action) {
            (Scenario::FreshInstall, Action::Compare { equal, .. }) if *equal == Equal::Schema => {
                Some(Difference::FreshInstall)
            }
            (Scenario::SkipRelease, Action::Compare { equal, .. }) if *equal == Equal::Schema => {
                Some(Difference::ReleasePath)
            }
            _ => None,
        };
        Policy {
            on_failure: self.on_failure(phase),
            // What users write before the baseline is kept would be in none of the states that are
            // compared with it.
            traffic: users && self.attempt > 0 && phase != Phase::Baseline,
            // The first time says what a migration leaks: it does the same each time.
            monitor: moved(action).is_some()
                && matches!(
                    scenario,
                    Scenario::Upgrade | Scenario::RoundTrip | Scenario::Custom
                ),
            difference,
        }
    }

    /// The upgrade itself is carried out as on a real system: nothing moves before all that is
    /// known beforehand is good, and a failure is rolled back until nothing can be. A rehearsal
    /// goes on as long as there is something to learn.
    fn on_failure(&self, phase: Phase) -> OnFailure {
        if self.attempt == 0 {
            return OnFailure::EndAttempt;
        }
        match (self.scenario, phase) {
            (Scenario::Upgrade, Phase::Expand | Phase::Switch | Phase::Soak) => OnFailure::RollBack,
            (Scenario::Upgrade, Phase::Preflight) if self.outline.capabilities.disposable => {
                OnFailure::Continue
            }
            (Scenario::Upgrade, _) => OnFailure::EndAttempt,
            _ => OnFailure::Continue,
        }
    }

    pub(super) fn snapshot(&mut self, phase: Phase, label: &str) {
        let label = label.to_owned();
        self.push(phase, Action::Snapshot { label });
    }

    pub(super) fn observe(&mut self, phase: Phase, label: &str) {
        let label = label.to_owned();
        self.push(phase, Action::Observe { label });
    }

    /// Keeps a state and measures it, so that others can be compared with it.
    pub(super) fn keep(&mut self, phase: Phase, label: &str) {
        self.snapshot(phase, label);
        self.observe(phase, label);
    }

    /// Begins another attempt from a state that is kept.
    pub(super) fn begin_from(&mut self, label: &str) {
        self.attempt += 1;
        self.restore(Phase::Baseline, label);
    }

    pub(super) fn restore(&mut self, phase: Phase, label: &str) {
        let label = label.to_owned();
        self.push(phase, Action::Restore { label });
    }

    /// The migrations by the changes that they are parts of.
    pub(super) fn units(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let one = |left: &MigrationOutline, right: &MigrationOutline| {
            left.unit.is_some() && left.unit == right.unit
        };
        let mut begun = 0;
        self.outline.migrations.chunk_by(one).map(move |unit| {
            let range = begun..begun + unit.len();
            begun = range.end;
            range
        })
    }

    pub(super) fn apply(&mut self, migrations: &[MigrationOutline]) {
        for migration in ids(migrations) {
            self.push(Phase::Expand, Action::Apply { migration });
        }
    }

    /// All of them.
    pub(super) fn apply_all(&mut self) {
        self.apply(&self.outline.migrations);
    }

    /// The last one first.
    pub(super) fn revert(&mut self, migrations: &[MigrationOutline]) {
        for migration in ids(migrations).into_iter().rev() {
            self.push(Phase::Rollback, Action::Revert { migration });
        }
    }

    pub(super) fn validate(&mut self, phase: Phase) {
        self.push(phase, Action::Validate);
        self.disturb(phase);
    }

    pub(super) fn compare(&mut self, phase: Phase, with: &str, equal: Equal) {
        // Rows that two releases share are read on both sides, so the older side must be kept.
        if equal == Equal::SharedRows && !self.outline.capabilities.snapshots {
            return;
        }
        let with = with.to_owned();
        self.push(phase, Action::Compare { with, equal });
    }

    /// Compares a candidate with the previous release, where a test has comparisons.
    pub(super) fn side_by_side(&mut self, phase: Phase, candidate: Candidate) {
        let outline = self.outline;
        if outline.comparisons && outline.capabilities.disposable {
            self.push(phase, Action::SideBySide { candidate });
        }
    }

    /// Users write, and the state that they leave is kept.
    pub(super) fn write(&mut self) {
        let seed = self.seed.wrapping_add(u64::from(self.attempt));
        self.push(Phase::Soak, Action::Write { seed });
        self.keep(Phase::Soak, WRITTEN);
    }

    pub(super) fn prepare_rollback(&mut self, strategy: &StrategyOutline) {
        let strategy = strategy.name.clone();
        self.push(Phase::Preflight, Action::PrepareRollback { strategy });
    }

    /// Adds a rollback across some of the migrations.
    pub(super) fn roll_back(&mut self, strategy: &StrategyOutline, over: Range<usize>) {
        let action = Action::RollBack {
            strategy: strategy.name.clone(),
            applied: ids(&self.outline.migrations[over]),
        };
        self.push(Phase::Rollback, action);
    }

    /// The rollback strategies that can cross the first `count` migrations, the preferred one
    /// first.
    pub(super) fn applicable(
        &self,
        count: usize,
    ) -> impl Iterator<Item = &'a StrategyOutline> + use<'a> {
        let outline = self.outline;
        let strategies = outline.strategies.iter();
        strategies.filter(move |strategy| can_cross(strategy, &outline.migrations[..count]))
    }
}

/// The migration that an action applies or reverts, and whether it applies it.
fn moved(action: &Action) -> Option<(bool, MigrationId)> {
    match action {
        Action::Apply { migration } => Some((true, migration.clone())),
        Action::Revert { migration } => Some((false, migration.clone())),
        _ => None,
    }
}

/// The label of the state after some migrations.
pub(super) fn after(migrations: &[MigrationOutline]) -> String {
    let last = migrations.last().map(|last| last.id.version());
    format!("after {}", last.unwrap_or_default())
}

pub(super) fn ids(migrations: &[MigrationOutline]) -> Vec<MigrationId> {
    let ids = migrations.iter().map(|migration| migration.id.clone());
    ids.collect()
}

fn millis(budget: Duration) -> u64 {
    u64::try_from(budget.as_millis()).unwrap_or(u64::MAX)
}
