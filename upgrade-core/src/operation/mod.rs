//! One upgrade of a real system, from its plan until it is final or rolled back: over days, by several
//! processes and people, any of which may be killed.
//!
//! An [`Operation`] joins what a tool has at hand: the [`Upgrade`], a way to reach the system, and the
//! [`Journal`]. A tool puts each of its calls behind a command.
//!
//! | call | from | to |
//! |---|---|---|
//! | [`plan`](Operation::plan) | nothing is under way | a [`Proposal`]; nothing was changed |
//! | [`apply`](Operation::apply) | nothing is under way | applied and watched, or rolled back where a step failed |
//! | [`watch`](Operation::watch) | applied | the same, or rolled back by a policy |
//! | [`resume`](Operation::resume) | a process was killed | where that process was going |
//! | [`rollback`](Operation::rollback) | applied, or in the middle | rolled back |
//! | [`finalize`](Operation::finalize) | applied and watched | final: no rollback is possible any more |
//! | [`abort`](Operation::abort) | before the first change, or after a rollback that failed | given up as it is |
//! | [`status`](Operation::status), [`history`](Operation::history), [`leftovers`](Operation::leftovers) | anywhere | nothing is changed |
//!
//! Where an operation stands is the sum of the records of its journal ([`Standing`]), and nothing else.
//! A call that the state does not permit is refused, and the error names the calls that it permits. A
//! rollback is never rolled back: where it does not succeed the operation is
//! [paused](crate::journal::State::Paused), and a person decides.
//!
//! From the first change until its end the system itself says to which operation it belongs
//! ([`Claim`](crate::environment::Claim)), so that a tool with another journal, on another machine, is
//! refused also while no process runs.

mod attestation;
mod confirm;
mod contract;
mod proposal;
mod status;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::UpgradeContext;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventSink;
use crate::ids::{MigrationId, Phase};
use crate::journal::{Entry, Head, Journal, Record, Standing, State};
use crate::plan::{Action, OnFailure, Plan, PlannedStep, Policy};
#[cfg(feature = "postgres")]
use crate::postgres::database::{Leftover, close};
use crate::report::Report;
use crate::runner::Runner;
use crate::scenario::Scenario;
use crate::upgrade::Upgrade;
use crate::watch::WatchPolicy;

pub use self::attestation::{Attestation, Rehearsed};
pub use self::confirm::{Confirm, Named, OnTerminal, Question};
pub use self::contract::{CONFIGURATION, Consent, Fate, RollbackContract, SCHEMA, WRITES};
pub(crate) use self::proposal::schema_hash;
pub use self::proposal::{Artifacts, FORMAT, Proposal, World};
pub use self::status::{Act, Status};

/// One upgrade of a real system.
///
/// The upgrade has all migrations of the release, also those that the system has applied long ago: the
/// operation reads from the system which are pending.
///
/// ```no_run
/// use upgrade_core::environment::{Existing, PostgresEnvironment};
/// use upgrade_core::journal::{Actor, FileStore, Journal};
/// use upgrade_core::operation::Operation;
/// use upgrade_core::postgres::Database;
/// use upgrade_core::{Result, Upgrade};
///
/// # async fn example(upgrade: Upgrade, database: Database) -> Result<()> {
/// let store = FileStore::open("/var/lib/deploy/orders.journal")?;
/// let journal = Journal::open(store, "orders on db1", Actor::new("ann")).await?;
/// let operation = Operation::new(journal, upgrade, move || {
///     PostgresEnvironment::new("production", Existing::new(database.clone()))
/// });
/// match operation.plan().await? {
///     None => println!("nothing is pending"),
///     Some(proposal) => {
///         println!("{proposal}");
///         operation.apply(&proposal).await?;
///     }
/// }
/// println!("{}", operation.status().await);
/// # Ok(())
/// # }
/// ```
pub struct Operation {
    upgrade: Upgrade,
    connect: Box<dyn Fn() -> Box<dyn Environment> + Send + Sync>,
    journal: Journal,
    sinks: Vec<Arc<dyn EventSink>>,
    cancellation: CancellationToken,
    demand: Option<(Attestation, Vec<Scenario>)>,
    claims: bool,
    consent: Consent,
    confirm: Option<Arc<dyn Confirm>>,
    /// One call at a time.
    turn: Mutex<()>,
}

impl Operation {
    /// An operation whose state is in a journal. `connect` reaches the system; each call that needs it
    /// takes an environment and gives it back.
    pub fn new<E: Environment>(
        journal: Journal,
        upgrade: Upgrade,
        connect: impl Fn() -> E + Send + Sync + 'static,
    ) -> Self {
        Self {
            upgrade,
            connect: Box::new(move || Box::new(connect())),
            journal,
            sinks: Vec::new(),
            cancellation: CancellationToken::new(),
            demand: None,
            claims: true,
            consent: Consent::Nothing,
            confirm: None,
            turn: Mutex::default(),
        }
    }

    /// Adds a listener to every run.
    #[must_use]
    pub fn with_sink(mut self, sink: impl EventSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Ends a call early when the token is cancelled. What [`apply`](Self::apply) has changed until then
    /// is rolled back.
    #[must_use]
    pub fn with_cancellation(mut self, token: CancellationToken) -> Self {
        self.cancellation = token;
        self
    }

    /// Lets [`apply`](Self::apply) carry out only what passed these scenarios in a rehearsal: the same
    /// migrations with the same content, and a rollback that was verified there.
    #[must_use]
    pub fn with_attestation(
        mut self,
        attestation: Attestation,
        scenarios: impl IntoIterator<Item = Scenario>,
    ) -> Self {
        self.demand = Some((attestation, scenarios.into_iter().collect()));
        self
    }

    /// Agrees to what a rollback loses. [`apply`](Self::apply) is refused without it where the
    /// [contract](RollbackContract) of the proposal has losses, and so is [`rollback`](Self::rollback)
    /// where anything is lost to which nobody agreed before. The journal keeps who agreed to what, until
    /// the upgrade is over.
    #[must_use]
    pub fn with_consent(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }

    /// Asks before [`apply`](Self::apply), [`rollback`](Self::rollback), [`finalize`](Self::finalize) and
    /// [`abort`](Self::abort) change anything. Without it nobody is asked. [`resume`](Self::resume) goes on
    /// with what was confirmed, and [`watch`](Self::watch) with its policy.
    #[must_use]
    pub fn with_confirmation(mut self, confirm: impl Confirm) -> Self {
        self.confirm = Some(Arc::new(confirm));
        self
    }

    /// Writes no claim into the system, for a role that may not. A second tool with another journal is
    /// then refused only while a process works on the system. A claim of somebody else still counts.
    #[must_use]
    pub fn without_claim(mut self) -> Self {
        self.claims = false;
        self
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Where the operation stands, told from the journal alone.
    pub async fn status(&self) -> Status {
        let standing = self.standing().await;
        Status::new(standing, self.journal.died().cloned())
    }

    /// What was intended and done, and by whom; the oldest first.
    pub async fn history(&self) -> Vec<Record> {
        self.journal.records().await
    }

    /// What an upgrade would do now: read from the system's own record of migrations, and from its
    /// services, without changing anything. Of the configurations copies are kept. `None` where nothing is pending, and all services run the new
    /// release.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] while an upgrade is under way, where the system belongs to another operation,
    /// for a migration that was begun and did not end, for a service that does not run the release that the upgrade starts at, where no rollback
    /// strategy can undo the pending migrations, and where rehearsals predict a rollback that takes longer
    /// than its budget; [`ErrorKind::NotFound`] for the artifact of a release that is not there; and the
    /// errors of the environment.
    pub async fn plan(&self) -> Result<Option<Proposal>> {
        let _turn = self.turn.lock().await;
        self.permits(Act::Apply, &self.standing().await)?;
        let environment = (self.connect)();
        let cx = self.context();
        let reading = async {
            environment.prepare(&cx).await?;
            let cx = cx.clone().with_endpoints(environment.endpoints());
            self.refuse_others(environment.as_ref(), &cx).await?;
            World::read(&self.upgrade, environment.as_ref(), &cx).await
        };
        let world = reading.await;
        environment.teardown(&cx).await?;
        let world = world?;
        let (from, to) = (self.upgrade.from(), self.upgrade.to());
        let served = environment.services().is_none() || world.all_run(to);
        if world.pending.is_empty() && served && world.switches().is_none() {
            return Ok(None);
        }
        world.all_start_at(from)?;
        let upgrade = self.upgrade.with_pending(&world.pending_ids())?;
        let mut outline = upgrade.outline_in(environment.as_ref())?;
        outline.configuration = world.switches();
        let plan = Plan::until_soak(&outline)?;
        let contract = self.contract(&world, &plan)?;
        Proposal::new(self.journal.id().await, world, plan, contract).map(Some)
    }

    /// Refuses a system that belongs to another operation.
    async fn refuse_others(
        &self,
        environment: &dyn Environment,
        cx: &UpgradeContext,
    ) -> Result<()> {
        let Some(claims) = environment.claims() else {
            return Ok(());
        };
        match claims.claimed(cx).await? {
            Some(claim) if claim.journal != self.journal.id().await => {
                Err(claim.refusal(environment.name()))
            }
            _ => Ok(()),
        }
    }

    /// What a rollback of a plan does.
    fn contract(&self, world: &World, plan: &Plan) -> Result<RollbackContract> {
        let attested = self.demand.as_ref().map(|(attestation, _)| attestation);
        RollbackContract::of(&self.upgrade, world, plan, attested)
    }

    /// Carries out a proposal, until users are to watch the new release. Where a step fails everything is
    /// rolled back.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] while an upgrade is under way, when the system is not what it was when the
    /// proposal was made, when it belongs to another operation, when the
    /// [attestation](Self::with_attestation) does not cover the proposal, and when a rollback would lose
    /// something to which nobody [agreed](Self::with_consent): nothing is changed then. The
    /// errors of [`Runner::run`] otherwise.
    pub async fn apply(&self, proposal: &Proposal) -> Result<Report> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        self.permits(Act::Apply, &standing)?;
        proposal.is_of(&self.journal.id().await)?;
        let upgrade = self.upgrade.with_pending(&proposal.world.pending_ids())?;
        if let Some((attestation, scenarios)) = &self.demand {
            attestation.covers(proposal, scenarios)?;
        }
        // With the attestation that is at hand now.
        let contract = self.contract(&proposal.world, &proposal.plan)?;
        self.consent.refuse_others(&proposal.contract.losses)?;
        self.consent.refuse_others(&contract.losses)?;
        self.confirmed(Act::Apply, proposal.to_string()).await?;
        // What an earlier attempt kept is given up before something is kept anew.
        if !standing.kept.is_empty() {
            self.give_up(standing.clone()).await?;
        }
        // What was agreed to for an attempt that changed nothing is not agreed to for this one.
        if standing.consent != self.consent {
            let to = self.consent.clone();
            self.journal.append(None, Entry::Consented { to }).await?;
        }
        let standing = Standing::default();
        let message = format!("carries out proposal {}", proposal.hash);
        self.journal.append(None, Entry::Note { message }).await?;
        let runner = self.runner(upgrade, standing);
        runner
            .expecting(proposal.world.clone())
            .run(&proposal.plan)
            .await
    }

    /// Goes on where a process was killed: with the upgrade, with the rollback, or with making it final.
    /// `None` where nothing was interrupted.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] after a rollback that failed: that is decided by a person.
    /// [`ErrorKind::Divergent`] when a migration is not the one that was applied. The errors of
    /// [`Runner::run`] otherwise.
    pub async fn resume(&self) -> Result<Option<Report>> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        if standing.state == State::Paused {
            self.permits(Act::Resume, &standing)?;
        }
        match status::interrupted(&standing) {
            Some(Act::RollBack) => self.roll_back(standing).await.map(Some),
            Some(Act::Finalize) if standing.state == State::Finalized => {
                self.make_final(standing).await.map(Some)
            }
            Some(Act::Finalize) => self.give_up(standing).await.map(Some),
            Some(_) => {
                let steps = standing.remaining_steps();
                self.go_on(standing, steps).await.map(Some)
            }
            // The claim may still be there, of a process that was killed after its last step.
            None if standing.state.is_over() => {
                self.give_up(standing).await?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Rolls back, verifies it, and gives up what was kept for it. Also from the middle of an upgrade, and
    /// from the middle of a rollback.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where there is nothing to roll back, [`ErrorKind::Divergent`] when a
    /// migration is not the one that was applied, and the errors of [`Runner::run`]. The report says
    /// whether the rollback is [proven](crate::outcome::RollbackReport::confirmed).
    pub async fn rollback(&self) -> Result<Report> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        self.permits(Act::RollBack, &standing)?;
        let status = Status::new(standing.clone(), None);
        let what = format!(
            "{status}\n\nThe system returns to release {}.",
            self.upgrade.from()
        );
        self.confirmed(Act::RollBack, what).await?;
        self.roll_back(standing).await
    }

    /// Watches the new release while users work with it, until a policy decides. The checks are the
    /// validators of the upgrade, and one with the name [`SERVICES`](crate::watch::SERVICES) where the
    /// system has services.
    ///
    /// Where the policy decides so, the upgrade is rolled back, unless that loses something to which
    /// nobody [agreed](Self::with_consent): then a finding says so, and the operation stands where it
    /// stood. So it does where the policy asks a person, and where the call is cancelled: the step of the
    /// watch is then [inconclusive](crate::report::StepOutcome::Inconclusive). A watch can be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless all changes are made and none is being undone;
    /// [`ErrorKind::InvalidInput`] for a policy that suits no check; the errors of [`Runner::run`].
    pub async fn watch(&self, policy: &WatchPolicy) -> Result<Report> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        if standing.state != State::Soaking || status::interrupted(&standing).is_some() {
            let message = format!("there is nothing to watch: {}", standing.state);
            return Err(Error::new(ErrorKind::Refused, message)
                .with_context("journal", self.journal.place()));
        }
        let policy = policy.clone();
        let rolls_back = Policy::default().with_on_failure(OnFailure::RollBack);
        let watch = PlannedStep::new(Phase::Soak, Action::Watch { policy });
        self.go_on(standing, vec![watch.with_policy(rolls_back)])
            .await
    }

    /// Makes the upgrade final: what was kept for a rollback is given up, and the next upgrade may begin.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless the upgrade is applied and was watched; the errors of
    /// [`Runner::run`].
    pub async fn finalize(&self) -> Result<Report> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        self.permits(Act::Finalize, &standing)?;
        let what = "From then on nothing can be rolled back.";
        self.confirmed(Act::Finalize, what.to_owned()).await?;
        self.make_final(standing).await
    }

    /// Gives the upgrade up as it is, for a reason that the journal keeps. Before the first change, what
    /// was kept is given up as well. After a rollback that failed, a person has put the system in order:
    /// nothing is changed then, and what was kept stays among the [leftovers](Self::leftovers).
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] in every other state; the errors of [`Runner::run`].
    pub async fn abort(&self, reason: &str) -> Result<Report> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        self.permits(Act::Abort, &standing)?;
        let what = "The system stays as it is, and the next upgrade may begin.";
        self.confirmed(Act::Abort, what.to_owned()).await?;
        let mut kept = standing;
        if kept.state == State::Paused {
            kept.kept.clear();
        }
        // Before it is written: afterwards nothing is known of what was kept.
        self.knows_what_is_kept(&kept)?;
        let reason = reason.to_owned();
        self.journal.append(None, Entry::Aborted { reason }).await?;
        self.give_up(kept).await
    }

    /// The copies that runs have made beside the database and not taken away. Those that this operation
    /// still needs for its rollback are not among them.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where the system belongs to another operation, which may need them; those of
    /// [`Environment::prepare`], and of [`Database::leftovers`](crate::postgres::Database::leftovers).
    #[cfg(feature = "postgres")]
    pub async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let _turn = self.turn.lock().await;
        let standing = self.standing().await;
        let environment = (self.connect)();
        let cx = self.context();
        let listing = async {
            environment.prepare(&cx).await?;
            let cx = cx.clone().with_endpoints(environment.endpoints());
            // What another operation needs for its rollback is none of ours.
            self.refuse_others(environment.as_ref(), &cx).await?;
            let database = cx.database()?;
            let mut admin = database.connect_maintenance().await?;
            let found = database.leftovers(&mut admin).await;
            close(admin).await;
            found
        };
        let found = listing.await;
        environment.teardown(&cx).await?;
        let mut found = found?;
        if !standing.state.is_over() {
            found.retain(|copy| !standing.kept.values().any(|kept| kept.names(&copy.name)));
        }
        Ok(found)
    }

    /// Closes the journal. Without that, the next process takes this one for killed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn close(self) -> Result<Head> {
        self.journal.close().await
    }

    async fn standing(&self) -> Standing {
        Standing::of(&self.journal.records().await)
    }

    fn permits(&self, act: Act, standing: &Standing) -> Result<()> {
        let acts = status::acts(standing);
        if acts.contains(&act) {
            return Ok(());
        }
        let others: Vec<String> = acts.iter().map(|act| format!("`{act}`")).collect();
        let message = format!("`{act}` is not possible now: {}", standing.state);
        Err(Error::new(ErrorKind::Refused, message)
            .with_context("journal", self.journal.place())
            .with_hint(format!("possible now: {}", others.join(", "))))
    }

    async fn roll_back(&self, standing: Standing) -> Result<Report> {
        let Some(step) = standing.rollback_step() else {
            let message = "no rollback is prepared";
            return Err(Error::new(ErrorKind::Refused, message)
                .with_hint("repair the system by hand, or go on with the upgrade: `resume`"));
        };
        let mut steps: Vec<PlannedStep> = Vec::new();
        // What has begun to move is not asked about again, and what was never given to users is not at all.
        let asks = matches!(standing.state, State::Soaking | State::Paused);
        if asks
            && !standing.rolling_back
            && let (phase, Action::RollBack { strategy, applied }) = step.clone()
        {
            let check = Action::CheckRollback { strategy, applied };
            steps.push(PlannedStep::new(phase, check));
            self.write_consent(&standing.consent).await?;
        }
        steps.push(step.into());
        steps.push(PlannedStep::new(Phase::Verify, Action::Validate));
        steps.extend(standing.kept.keys().cloned().map(give_up));
        self.go_on(standing, steps).await
    }

    async fn make_final(&self, standing: Standing) -> Result<Report> {
        let mut steps: Vec<PlannedStep> = standing.kept.keys().cloned().map(give_up).collect();
        steps.push(PlannedStep::new(Phase::Verify, Action::Validate));
        self.go_on(standing, steps).await
    }

    /// Refuses where something is kept by a strategy that is not at hand.
    fn knows_what_is_kept(&self, standing: &Standing) -> Result<()> {
        let missing = |name: &&String| {
            let mut all = self.upgrade.rollbacks().iter();
            !all.any(|rollback| rollback.name() == name.as_str())
        };
        let Some(name) = standing.kept.keys().find(missing) else {
            return Ok(());
        };
        let message = format!("an earlier attempt has kept something by {name}");
        Err(Error::new(ErrorKind::Refused, message).with_hint(format!(
            "give it up first: `resume`, with {name} as the rollback"
        )))
    }

    /// Gives up what is kept, and the claim if the upgrade is over. It needs no migration.
    async fn give_up(&self, standing: Standing) -> Result<Report> {
        self.knows_what_is_kept(&standing)?;
        let steps = standing.kept.keys().cloned().map(give_up).collect();
        self.carry_out(self.upgrade.clone(), standing, steps).await
    }

    /// Carries out steps that need the migrations of the upgrade that is under way.
    async fn go_on(&self, standing: Standing, steps: Vec<PlannedStep>) -> Result<Report> {
        let upgrade = self.upgrade.with_pending(&standing.migrations)?;
        same_migrations(&upgrade, &standing)?;
        self.carry_out(upgrade, standing, steps).await
    }

    /// Carries out steps, with what earlier processes have done.
    async fn carry_out(
        &self,
        upgrade: Upgrade,
        standing: Standing,
        steps: Vec<PlannedStep>,
    ) -> Result<Report> {
        let outline = upgrade.outline_in((self.connect)().as_ref())?;
        let plan = Plan::from_steps(&outline, steps, 0)?;
        self.runner(upgrade, standing).run(&plan).await
    }

    fn runner(&self, upgrade: Upgrade, standing: Standing) -> Runner {
        let mut runner = Runner::boxed(upgrade, (self.connect)())
            .with_journal(self.journal.clone())
            .with_cancellation(self.cancellation.clone())
            .with_shared_sinks(self.sinks.iter().cloned())
            .asking(standing.consent.clone().and(self.consent.clone()))
            .predicting_from(match &self.demand {
                Some((attestation, _)) => attestation.timings.clone(),
                None => Vec::new(),
            })
            .going_on_from(standing);
        if !self.claims {
            runner = runner.without_claim();
        }
        runner
    }

    fn context(&self) -> UpgradeContext {
        UpgradeContext::new(self.upgrade.from().clone(), self.upgrade.to().clone())
            .with_deadline(Instant::now() + self.upgrade.step_within())
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("upgrade", &self.upgrade.name())
            .field("journal", &self.journal.place())
            .finish_non_exhaustive()
    }
}

/// The step that gives up what a strategy keeps.
fn give_up(strategy: String) -> PlannedStep {
    PlannedStep::new(Phase::Finalize, Action::Finalize { strategy })
}

/// Refuses to go on with other migrations than those that were planned.
fn same_migrations(upgrade: &Upgrade, standing: &Standing) -> Result<()> {
    let other = |id: &&MigrationId| {
        let at_hand = upgrade.migrations().iter().find(|one| one.id() == *id);
        at_hand.map(|one| one.checksum()) != standing.checksums.get(id).cloned()
    };
    let Some(id) = standing.checksums.keys().find(other) else {
        return Ok(());
    };
    let message = format!("migration `{id}` is not the one that this operation has planned");
    Err(Error::new(ErrorKind::Divergent, message)
        .with_hint("go on with the files of the release that began it"))
}
