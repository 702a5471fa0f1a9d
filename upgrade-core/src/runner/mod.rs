//! Carries out a plan through the four traits. The same runner serves tests and real systems.
//!
//! - `run`: the loop over the steps, and `state`, what it remembers between them.
//! - `steps`: what each kind of step does.
//! - `compare`: two states of the system, read and set against each other.
//! - `judge`: from differences to findings, without reading anything.
//! - `journaled`: what a run intends and does, written down; `claim`: to whom the system belongs.
//! - `deadline`, `observations`, `record`, `end`: the time of every call, what need not be observed
//!   twice, what the report says, what is done at the end.

mod claim;
mod compare;
mod deadline;
mod end;
mod journaled;
mod judge;
mod observations;
mod record;
mod run;
mod state;
mod steps;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::context::UpgradeContext;
use crate::environment::Environment;
use crate::error::Result;
use crate::event::EventSink;
use crate::journal::{Journal, Standing};
use crate::operation::{Consent, World};
use crate::plan::Plan;
use crate::report::Report;
use crate::rollback::Timing;
use crate::upgrade::Upgrade;

/// Carries out a plan of an upgrade in an environment.
///
/// The plan is checked first ([`Plan::check`]). Steps run one after the other, each within its
/// budget. What happens when one fails stands in its [`Policy`](crate::plan::Policy): a rollback
/// undoes what this run has changed, and nothing else. The environment is torn down in every case.
pub struct Runner {
    upgrade: Upgrade,
    environment: Box<dyn Environment>,
    sinks: Vec<Arc<dyn EventSink>>,
    cancellation: CancellationToken,
    reproduce: Option<String>,
    extension: Option<Arc<dyn Any + Send + Sync>>,
    journal: Option<Journal>,
    standing: Standing,
    claims: bool,
    world: Option<World>,
    consent: Option<Consent>,
    timings: Vec<Timing>,
}

impl Runner {
    /// A runner that no one listens to.
    pub fn new(upgrade: Upgrade, environment: impl Environment) -> Self {
        Self::boxed(upgrade, Box::new(environment))
    }

    /// The same, in an environment whose kind is known only when it runs.
    pub fn boxed(upgrade: Upgrade, environment: Box<dyn Environment>) -> Self {
        Self {
            upgrade,
            environment,
            sinks: Vec::new(),
            cancellation: CancellationToken::new(),
            reproduce: None,
            extension: None,
            journal: None,
            standing: Standing::default(),
            claims: true,
            world: None,
            consent: None,
            timings: Vec::new(),
        }
    }

    /// Adds a listener.
    #[must_use]
    pub fn with_sink(mut self, sink: impl EventSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Ends the run early when the token is cancelled; the environment is still torn down.
    #[must_use]
    pub fn with_cancellation(mut self, token: CancellationToken) -> Self {
        self.cancellation = token;
        self
    }

    /// The line that runs this run again, for its report.
    #[must_use]
    pub fn with_reproduce(mut self, line: impl Into<String>) -> Self {
        self.reproduce = Some(line.into());
        self
    }

    /// A value that every context of the run carries for the harness that made it.
    #[must_use]
    pub fn with_extension(mut self, value: Arc<dyn Any + Send + Sync>) -> Self {
        self.extension = Some(value);
        self
    }

    /// Writes into a journal what is about to be done, before each step, and what it came to. A step whose
    /// intent cannot be written is not done. A real system then says to which journal it belongs, from the
    /// first step until the upgrade is over; see [`Claims`](crate::environment::Claims).
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Goes on where an earlier process has ended: what it applied counts as applied by this run, so it can
    /// be rolled back, with what it kept.
    ///
    /// The upgrade has all the migrations that the earlier plan applied.
    #[must_use]
    pub fn going_on_from(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// Writes no claim into a real system; see
    /// [`Operation::without_claim`](crate::operation::Operation::without_claim).
    #[must_use]
    pub fn without_claim(mut self) -> Self {
        self.claims = false;
        self
    }

    /// Refuses, before the first change, a system that is not as it was when the plan was made.
    pub(crate) fn expecting(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Refuses a rollback that loses anything else than this, where the plan checks one.
    pub(crate) fn asking(mut self, consent: Consent) -> Self {
        self.consent = Some(consent);
        self
    }

    /// Predicts from these how long a rollback would take, while the new release is watched.
    pub(crate) fn predicting_from(mut self, timings: Vec<Timing>) -> Self {
        self.timings = timings;
        self
    }

    /// Adds listeners that others have as well.
    pub(crate) fn with_shared_sinks(
        mut self,
        sinks: impl IntoIterator<Item = Arc<dyn EventSink>>,
    ) -> Self {
        self.sinks.extend(sinks);
        self
    }

    /// Carries out a plan.
    ///
    /// The report says whether the upgrade is good ([`Report::passed`]); an error means that
    /// this could not be told, and carries the report of what was done until then.
    ///
    /// # Errors
    /// The error of the step that could not be carried out, or of the teardown.
    pub async fn run(self, plan: &Plan) -> Result<Report> {
        let cx = UpgradeContext::new(plan.from.clone(), plan.to.clone())
            .with_seed(plan.seed)
            .with_cancellation(self.cancellation.clone());
        let cx = match &self.extension {
            Some(value) => cx.with_extension(Arc::clone(value)),
            None => cx,
        };
        // On the heap, so that those who wait for it need no more room than for a pointer.
        Box::pin(run::run(self, cx, plan)).await
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("upgrade", &self.upgrade)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}
