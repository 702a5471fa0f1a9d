//! What a run remembers between its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::compare::rows::OwnRows;
use super::judge::unjudged::Judged;
use super::observations::Looks;
use super::steps;
use super::steps::crash::Crashes;
use super::steps::service_faults::Faults;
use super::steps::statements::Tried;
use super::steps::unfilled::UnfilledTables;
use crate::configuration::Digest;
use crate::context::UpgradeContext;
use crate::environment::{EMPTY, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::finding::{Finding, KnownFinding};
use crate::ids::{MigrationId, Phase};
use crate::journal::{Journal, Standing, State};
use crate::migration::{Migration, Status};
use crate::observation::Observation;
use crate::operation::{Consent, World};
use crate::plan::{Plan, StepId, past};
use crate::report::{MigrationReport, Report};
use crate::rollback::{Prepared, Timing};
use crate::upgrade::Upgrade;

/// What a run remembers between its steps.
pub(super) struct Run<'a> {
    pub(super) upgrade: &'a Upgrade,
    pub(super) environment: &'a dyn Environment,
    pub(super) plan: &'a Plan,
    pub(super) observations: BTreeMap<String, Observation>,
    pub(super) looks: Looks,
    /// The states that are kept.
    pub(super) snapshots: BTreeMap<String, KeptState>,
    /// The states that were not given up yet, by the last step that needs each.
    pub(super) last_needed: BTreeMap<StepId, Vec<String>>,
    /// What crashes have left.
    pub(super) crashes: Crashes,
    /// The migration that was interrupted last, until it is applied or undone.
    pub(super) crashed: Option<MigrationId>,
    /// The rollback that is prepared, until it is given up, and how many migrations were applied
    /// when it was.
    pub(super) prepared: Option<(String, usize)>,
    /// What each strategy keeps, by its name.
    pub(super) kept: BTreeMap<String, Prepared>,
    pub(super) journal: Option<Journal>,
    /// Whether it goes on with an upgrade that is under way.
    pub(super) goes_on: bool,
    /// Whether a claim may be written, and whether the system bears that of the journal.
    pub(super) claims: bool,
    pub(super) claimed: bool,
    /// Whether this run has taken the system.
    pub(super) attached: bool,
    /// What the system has to be before the first change.
    pub(super) world: Option<World>,
    /// What a rollback may lose, where somebody has to agree.
    pub(super) consent: Option<Consent>,
    /// How long the failure had lasted on which a watch has decided.
    pub(super) detected: Option<Duration>,
    /// How long rollbacks took in rehearsals.
    pub(super) timings: Vec<Timing>,
    /// The hash of the schema when all changes were made.
    pub(super) reached: Option<String>,
    /// The migrations that are applied, or begun, now; oldest first.
    pub(super) applied: Vec<MigrationId>,
    /// Those of them that were there before this run applied them: it never rolls them back.
    pub(super) foreign: BTreeSet<MigrationId>,
    /// The migrations that were pending before this run applied them for the first time.
    pub(super) pending: BTreeSet<MigrationId>,
    /// Whether the upgrade is final: nothing is rolled back any more.
    pub(super) finalized: bool,
    /// How many instances of services are those of the new release.
    pub(super) replaced: u32,
    /// The configuration before this upgrade switched it, and since.
    pub(super) configured: Option<(Digest, Digest)>,
    /// What a rollback of this attempt has not restored, by the subjects of the findings.
    pub(super) drift: BTreeSet<String>,
    /// Whether the step that is under way has shown that the rest of its attempt has nothing to
    /// say, although nothing failed.
    pub(super) leaves_attempt: bool,
    /// Which steps were carried out.
    pub(super) judged: Judged,
    /// The faults of services that were injected.
    pub(super) faults: Faults,
    /// Which statements of either release were refused.
    pub(super) tried: Tried,
    /// Whether the live state derives from one that was made from an empty system.
    pub(super) rebuilt: bool,
    /// The states that cannot be made from an empty system.
    pub(super) unreachable: BTreeSet<String>,
    /// The rows that ups were seen to insert.
    pub(super) own_rows: OwnRows,
    /// The changes of [`Upgrade::expected_changes`] that were seen to happen, by their place.
    pub(super) happened: BTreeSet<usize>,
    /// The tables that should have rows and have none.
    pub(super) unfilled: UnfilledTables,
    /// The findings that are known here, each with whether it was found.
    pub(super) known: Vec<(&'a KnownFinding, bool)>,
    /// Whether a known finding has kept a state from being reached.
    pub(super) lacks_states: bool,
    pub(super) report: Report,
}

/// What is remembered of a state that is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptState {
    /// The migrations that are applied in it, or begun; oldest first.
    applied: Vec<MigrationId>,
    /// Those of them that this run did not apply.
    foreign: BTreeSet<MigrationId>,
    /// The migration that was interrupted, if that is how the state came about.
    crashed: Option<MigrationId>,
    /// How many instances of services are those of the new release.
    replaced: u32,
    /// Whether it derives from a state that was made from an empty system.
    rebuilt: bool,
}

impl<'a> Run<'a> {
    /// Nothing was done yet.
    pub(super) fn new(
        upgrade: &'a Upgrade,
        environment: &'a dyn Environment,
        plan: &'a Plan,
        report: Report,
    ) -> Self {
        Self {
            upgrade,
            environment,
            plan,
            observations: BTreeMap::new(),
            looks: Looks::default(),
            snapshots: [(EMPTY.to_owned(), KeptState::default())].into(),
            last_needed: past::last_needed(plan),
            crashes: Crashes::default(),
            crashed: None,
            prepared: None,
            kept: BTreeMap::new(),
            journal: None,
            goes_on: false,
            claims: true,
            claimed: false,
            attached: false,
            world: None,
            consent: None,
            reached: None,
            detected: None,
            timings: Vec::new(),
            applied: Vec::new(),
            foreign: BTreeSet::new(),
            pending: BTreeSet::new(),
            finalized: false,
            replaced: 0,
            configured: None,
            drift: BTreeSet::new(),
            leaves_attempt: false,
            judged: Judged::default(),
            faults: Faults::default(),
            tried: Tried::default(),
            rebuilt: false,
            unreachable: BTreeSet::new(),
            own_rows: OwnRows::default(),
            happened: BTreeSet::new(),
            unfilled: UnfilledTables::default(),
            known: upgrade
                .known_in(plan)
                .into_iter()
                .map(|known| (known, false))
                .collect(),
            lacks_states: false,
            report,
        }
    }

    /// Goes on where an earlier process has ended.
    pub(super) fn go_on_from(&mut self, standing: Standing) {
        self.goes_on = !(standing.state.is_over() || standing.state == State::Nothing);
        let Standing {
            applied,
            kept,
            prepared,
            replaced,
            schema,
            configured,
            ..
        } = standing;
        self.configured = configured;
        self.pending = applied.iter().cloned().collect();
        (self.applied, self.kept, self.prepared) = (applied, kept, prepared);
        (self.replaced, self.reached) = (replaced, schema);
    }

    /// Whether a rollback runs the downs.
    pub(super) fn goes_by_downs(&self, strategy: &str) -> bool {
        let mut all = self.upgrade.rollbacks().iter();
        all.any(|rollback| rollback.name() == strategy && rollback.requires_reversible())
    }

    /// Whether every migration is applied.
    pub(super) fn is_at_head(&self) -> bool {
        let all = self.upgrade.migrations();
        let done = |migration: &Arc<dyn Migration>| self.applied.contains(migration.id());
        !all.is_empty() && all.iter().all(done)
    }

    /// Remembers what belongs to the state that was kept now.
    pub(super) fn keep(&mut self, label: &str) {
        let state = KeptState {
            applied: self.applied.clone(),
            foreign: self.foreign.clone(),
            crashed: self.crashed.clone(),
            replaced: self.replaced,
            rebuilt: self.rebuilt,
        };
        self.snapshots.insert(label.to_owned(), state);
        self.looks.keep(label);
    }

    /// Restores what the run had recorded when the state of this label was kept.
    pub(super) fn put_back(&mut self, label: &str) {
        let kept = self.snapshots.get(label).cloned().unwrap_or_default();
        (self.applied, self.foreign) = (kept.applied, kept.foreign);
        (self.crashed, self.replaced) = (kept.crashed, kept.replaced);
        self.rebuilt = kept.rebuilt;
        self.finalized = false;
        self.drift.clear();
    }

    /// A migration that is about to be applied. One that the system has applied, or begun, before
    /// this run did is not this run's to roll back.
    pub(super) async fn begin(
        &mut self,
        cx: &UpgradeContext,
        id: &MigrationId,
    ) -> Result<Arc<dyn Migration>> {
        let migration = steps::migration(self, id)?;
        if !self.applied.contains(id) {
            // In staging nobody else applies anything, so what was pending once is this run's.
            if !self.environment.is_disposable() || !self.pending.contains(id) {
                match migration.status(cx).await? {
                    Status::Pending => self.pending.insert(id.clone()),
                    _ => self.foreign.insert(id.clone()),
                };
            }
            self.applied.push(id.clone());
        }
        Ok(migration)
    }

    /// Refuses to undo what this run did not do.
    pub(super) fn not_ours(&self, migrations: &[MigrationId]) -> Option<Finding> {
        let is_ours = |id: &&MigrationId| self.applied.contains(id) && !self.foreign.contains(*id);
        let id = migrations.iter().find(|id| !is_ours(id))?;
        let message = "was not applied by this run, and a run undoes only what it did itself";
        Some(
            Finding::error("rollback/unsafe", format!("migration {id}"), message)
                .with_help("plan without what the system has applied: `Upgrade::without_applied`"),
        )
    }

    /// A facet of the environment, by the name that a person reads. A plan that was checked takes only
    /// what the environment has.
    pub(super) fn has<'e, F: ?Sized>(&self, facet: Option<&'e F>, name: &str) -> Result<&'e F> {
        facet.ok_or_else(|| {
            let environment = self.environment.name();
            let message =
                format!("environment `{environment}` has no {name}, which the step needs");
            Error::new(ErrorKind::Unsupported, message).with_hint("plan for this environment")
        })
    }

    /// What a strategy has kept.
    pub(super) fn kept(&self, strategy: &str) -> Result<&Prepared> {
        self.kept.get(strategy).ok_or_else(|| {
            let message = format!("the rollback by {strategy} is not prepared");
            Error::new(ErrorKind::Refused, message)
                .with_hint("plan a step that prepares it, before the first change")
        })
    }

    /// What was observed under a label.
    pub(super) fn observed(&self, label: &str) -> Result<&Observation> {
        self.observations.get(label).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                format!("no state was observed as `{label}`"),
            )
        })
    }

    /// The context of a call: where we are, how long it may take, what can be reached.
    pub(super) fn context(
        &self,
        cx: &UpgradeContext,
        phase: Phase,
        within: Duration,
    ) -> UpgradeContext {
        let deadline = Instant::now() + within;
        let is_real = !self.environment.is_disposable();
        cx.clone()
            .with_lock_timeout(is_real.then(|| self.upgrade.lock_timeout()))
            .with_upgraded(self.is_at_head() && self.crashed.is_none())
            .with_phase(phase)
            .with_deadline(deadline)
            .with_endpoints(self.environment.endpoints())
    }

    /// The report of a migration.
    pub(super) fn migration_report(&mut self, id: &MigrationId) -> Option<&mut MigrationReport> {
        self.report
            .migrations
            .iter_mut()
            .find(|migration| migration.id == *id)
    }

    /// The migrations that are applied in a state that is kept.
    pub(super) fn applied_in(&self, label: &str) -> &[MigrationId] {
        let kept = self.snapshots.get(label);
        kept.map_or(&[], |kept| kept.applied.as_slice())
    }
}
