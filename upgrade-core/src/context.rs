//! What every implementation is handed first: which run this is, how long it may take, and where
//! to say what happens.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::endpoint::{Endpoint, Endpoints};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventHub};
use crate::finding::Finding;
use crate::ids::{Phase, RunId, Version};
use crate::measurement::{Attachment, Measurement};
use crate::redact::Secrets;
use crate::secret::Secret;
use crate::side::{Candidate, Side};

/// The context of a call into one of the four traits. Cheap to clone.
///
/// Every wait of an implementation must end at [`deadline`](Self::deadline) and on
/// [`cancellation`](Self::cancellation); [`bounded`](Self::bounded) does both.
#[derive(Clone)]
pub struct UpgradeContext {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    run: RunId,
    from: Version,
    to: Version,
    phase: Phase,
    attempt: u32,
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    seed: u64,
    endpoints: Endpoints,
    events: EventHub,
    upgraded: bool,
    crash: Option<Arc<CrashPoint>>,
    noticed: Arc<Mutex<Noticed>>,
    sides: BTreeMap<Side, Endpoints>,
    candidate: Option<Candidate>,
    secrets: Secrets,
    extension: Option<Arc<dyn Any + Send + Sync>>,
    lock_timeout: Option<Duration>,
}

/// What implementations report beside the outcome of their calls.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    pub(crate) findings: Vec<Finding>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) attachments: Vec<Attachment>,
}

impl UpgradeContext {
    /// A context for an upgrade between two releases, with a new run id, no deadline, and no one
    /// listening. The runner makes its own; this one serves tools and conformance suites.
    pub fn new(from: impl Into<Version>, to: impl Into<Version>) -> Self {
        Self {
            inner: Arc::new(Inner {
                run: RunId::generate(),
                from: from.into(),
                to: to.into(),
                phase: Phase::Provision,
                attempt: 0,
                deadline: None,
                cancellation: CancellationToken::new(),
                seed: 0,
                endpoints: Endpoints::default(),
                events: EventHub::default(),
                upgraded: false,
                crash: None,
                noticed: Arc::default(),
                sides: BTreeMap::new(),
                candidate: None,
                secrets: Secrets::default(),
                extension: None,
                lock_timeout: None,
            }),
        }
    }

    /// The run that this call belongs to.
    pub fn run_id(&self) -> &RunId {
        &self.inner.run
    }

    /// The release that the upgrade starts at.
    pub fn from(&self) -> &Version {
        &self.inner.from
    }

    /// The release that the upgrade leads to.
    pub fn to(&self) -> &Version {
        &self.inner.to
    }

    /// Where in the upgrade we are.
    pub fn phase(&self) -> Phase {
        self.inner.phase
    }

    /// Which attempt of the plan this is; see [`Step::attempt`](crate::plan::Step::attempt). Every
    /// attempt after the first begins from a state that was kept. That state lacks what users did
    /// in other attempts, so a validator must not use what it remembers of those attempts.
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// Whether the system is at [`to`](Self::to): all migrations are applied. A validator that has
    /// to speak to each release in its own way asks this.
    pub fn is_upgraded(&self) -> bool {
        self.inner.upgraded
    }

    /// When this call must have ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// The time that is left until the deadline; `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.inner
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Cancelled when the run is to end early.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancellation
    }

    /// The seed of the run; the only source of randomness that an implementation may use.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// All endpoints that the environment offers now.
    pub fn endpoints(&self) -> &Endpoints {
        &self.inner.endpoints
    }

    /// One endpoint by name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with the names that there are.
    pub fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.inner.endpoints.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.inner.endpoints.iter().map(|(name, _)| name).collect();
            Error::new(
                ErrorKind::NotFound,
                format!("the environment offers no endpoint `{name}`"),
            )
            .with_hint(if known.is_empty() {
                "it offers none at all: is it provisioned?".to_owned()
            } else {
                format!("it offers: {}", known.join(", "))
            })
        })
    }

    /// Tells whoever listens.
    pub(crate) fn emit(&self, event: Event) {
        if !self.inner.events.is_heard() {
            return;
        }
        match self.inner.secrets.redact_data(event) {
            Some(event) => self.inner.events.emit(event),
            None => tracing::warn!("an event was left out: its secrets could not be taken out"),
        }
    }

    /// An implementation names a secret that may stand in texts which it does not write itself: from
    /// now on it is replaced in everything that leaves the run. The passwords of
    /// [endpoints](Self::with_endpoints) are known without this.
    pub fn conceal(&self, secret: &Secret) {
        self.inner.secrets.add(secret);
    }

    /// A text of somebody else, such as the output of a command, without the secrets of the run.
    pub fn redact(&self, text: &str) -> String {
        self.inner.secrets.redact(text).into_owned()
    }

    /// The secrets that the run knows.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    /// Waits for a future, but no longer than the deadline and the cancellation allow.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] or [`ErrorKind::Cancelled`], naming `what`.
    pub fn bounded<F: Future>(
        &self,
        what: &str,
        future: F,
    ) -> impl Future<Output = Result<F::Output>> {
        // On the heap: what waits here would otherwise be as large as all that it waits for.
        let future = Box::pin(future);
        async move {
            let started = Instant::now();
            let deadline = async {
                match self.inner.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.inner.cancellation.cancelled() => {
                    Err(Error::new(ErrorKind::Cancelled, format!("`{what}` was cancelled"))
                        .with_phase(self.inner.phase))
                }
                output = future => Ok(output),
                () = deadline => {
                    Err(Error::new(
                        ErrorKind::Timeout,
                        format!("`{what}` did not end in time: {:.1?}", started.elapsed()),
                    )
                    .with_phase(self.inner.phase))
                }
            }
        }
    }

    /// An implementation of [`Migration`](crate::Migration) calls this between its statements,
    /// with how many of them are done. It is where progress is told, where a cancellation takes
    /// effect, and where a plan that rehearses a crash has it happen.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] and [`ErrorKind::Cancelled`].
    pub async fn reach(&self, done: usize, of: usize) -> Result<()> {
        if self.inner.cancellation.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the run was cancelled"));
        }
        self.emit(Event::StatementReached { done, of });
        if let Some(crash) = &self.inner.crash {
            self.bounded("the rehearsed crash", crash.reach(done))
                .await?;
        }
        Ok(())
    }

    /// An implementation tells what it has noticed about itself, whatever its call comes to: a
    /// setting that a script leaves changed, say. It is reported with the step.
    pub fn notice(&self, finding: Finding) {
        self.noticed(|noticed| noticed.findings.push(finding));
    }

    /// An implementation reports a figure that it has measured, whatever its verdict.
    pub fn measure(&self, measurement: Measurement) {
        self.noticed(|noticed| noticed.measurements.push(measurement));
    }

    /// An implementation attaches a file to the report of the step, whatever its verdict. The file must hold
    /// no secrets: it is not searched for them.
    pub fn attach(&self, attachment: Attachment) {
        self.noticed(|noticed| noticed.attachments.push(attachment));
    }

    /// What was noticed since the last time.
    pub(crate) fn take_noticed(&self) -> Noticed {
        self.noticed(std::mem::take)
    }

    /// Takes back what was noticed before.
    pub(crate) fn put_noticed(&self, earlier: Noticed) {
        self.noticed(|noticed| *noticed = earlier);
    }

    /// What runs [side by side](crate::side) with the system, each with its endpoints; empty outside of a step
    /// that compares releases.
    pub fn sides(&self) -> &BTreeMap<Side, Endpoints> {
        &self.inner.sides
    }

    /// What the candidate is; `None` outside of a step that compares releases.
    pub fn candidate(&self) -> Option<Candidate> {
        self.inner.candidate
    }

    fn noticed<T>(&self, act: impl FnOnce(&mut Noticed) -> T) -> T {
        act(&mut self
            .inner
            .noticed
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// How long a statement may wait for a lock before it lets others pass, on a system that others use;
    /// `None` in staging. See [`Upgrade::with_lock_timeout`](crate::Upgrade::with_lock_timeout).
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.inner.lock_timeout
    }

    /// A value that a test harness attached for its own use; see [`Self::with_extension`].
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner
            .extension
            .as_deref()
            .and_then(|value| value.downcast_ref())
    }

    /// The same context, later in the upgrade.
    #[must_use]
    pub fn with_phase(self, phase: Phase) -> Self {
        self.change(|inner| inner.phase = phase)
    }

    /// The same context, in an attempt of the plan.
    #[must_use]
    pub(crate) fn with_attempt(self, attempt: u32) -> Self {
        self.change(|inner| inner.attempt = attempt)
    }

    /// The same context, with the system at `to`, or not: what [`is_upgraded`](Self::is_upgraded) answers.
    #[must_use]
    pub fn with_upgraded(self, upgraded: bool) -> Self {
        self.change(|inner| inner.upgraded = upgraded)
    }

    /// The same context with a deadline; an earlier one that it has already stays.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        self.change(|inner| {
            inner.deadline = Some(inner.deadline.map_or(deadline, |own| own.min(deadline)));
        })
    }

    /// Sets when the call has to end, whatever was set before: for what has to be done when the
    /// time of a step is over.
    #[must_use]
    pub(crate) fn with_new_deadline(self, deadline: Instant) -> Self {
        self.change(|inner| inner.deadline = Some(deadline))
    }

    /// The same context with other endpoints.
    #[must_use]
    pub fn with_endpoints(self, endpoints: Endpoints) -> Self {
        for (_, endpoint) in endpoints.iter() {
            self.inner.secrets.add_url(endpoint.url());
        }
        self.change(|inner| inner.endpoints = endpoints)
    }

    /// The same context with systems that run side by side, of which the candidate is this one.
    #[must_use]
    pub fn with_sides(self, sides: BTreeMap<Side, Endpoints>, candidate: Candidate) -> Self {
        for (_, endpoint) in sides.values().flat_map(Endpoints::iter) {
            self.inner.secrets.add_url(endpoint.url());
        }
        self.change(|inner| (inner.sides, inner.candidate) = (sides, Some(candidate)))
    }

    /// The same context with another seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.change(|inner| inner.seed = seed)
    }

    /// The same context, cancelled by another token.
    #[must_use]
    pub fn with_cancellation(self, token: CancellationToken) -> Self {
        self.change(|inner| inner.cancellation = token)
    }

    /// The same context with a value for the harness that made it.
    #[must_use]
    pub fn with_extension(self, value: Arc<dyn Any + Send + Sync>) -> Self {
        self.change(|inner| inner.extension = Some(value))
    }

    pub(crate) fn with_lock_timeout(self, timeout: Option<Duration>) -> Self {
        self.change(|inner| inner.lock_timeout = timeout)
    }

    pub(crate) fn with_events(self, events: EventHub) -> Self {
        self.change(|inner| inner.events = events)
    }

    pub(crate) fn with_crash(self, crash: Arc<CrashPoint>) -> Self {
        self.change(|inner| inner.crash = Some(crash))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }
}

impl fmt::Debug for UpgradeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeContext")
            .field("run", &self.inner.run.as_str())
            .field("from", &self.inner.from.as_str())
            .field("to", &self.inner.to.as_str())
            .field("phase", &self.inner.phase)
            .field("remaining", &self.remaining())
            .field("seed", &self.inner.seed)
            .field("endpoints", &self.inner.endpoints)
            .finish_non_exhaustive()
    }
}

/// The point of a migration at which a rehearsed crash happens, once; and when each of its
/// boundaries was passed.
#[derive(Debug)]
pub(crate) struct CrashPoint {
    /// How many statements have to be done; `None` only measures.
    at: Option<usize>,
    /// Whether the migration waits there until the crash is over.
    holds: bool,
    injected: AtomicBool,
    reached: Notify,
    resume: Notify,
    passed: Mutex<Vec<Instant>>,
}

impl CrashPoint {
    /// Crashes nowhere.
    pub(crate) fn measuring() -> Self {
        Self {
            at: None,
            holds: false,
            injected: AtomicBool::new(false),
            reached: Notify::new(),
            resume: Notify::new(),
            passed: Mutex::default(),
        }
    }

    /// Holds the migration between two statements, when that many are done.
    pub(crate) fn after(done: usize) -> Self {
        Self {
            at: Some(done),
            holds: true,
            ..Self::measuring()
        }
    }

    /// Tells when the statement begins before which that many are done, and lets it run.
    pub(crate) fn within(done: usize) -> Self {
        Self {
            at: Some(done),
            ..Self::measuring()
        }
    }

    /// Ends when the migration stands at the point.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the migration run on, into whatever the crash has left of it.
    pub(crate) fn resume(&self) {
        self.resume.notify_one();
    }

    /// How long each statement took, as far as both its boundaries were passed.
    pub(crate) fn laps(&self) -> Vec<Duration> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    async fn reach(&self, done: usize) {
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
        if self.at == Some(done) && !self.injected.swap(true, Ordering::SeqCst) {
            self.reached.notify_one();
            if self.holds {
                self.resume.notified().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_the_deadline() {
        let cx = UpgradeContext::new("1", "2")
            .with_deadline(Instant::now() + Duration::from_secs(3))
            .with_deadline(Instant::now() + Duration::from_secs(9));
        let error = cx
            .bounded("forever", std::future::pending::<()>())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("`forever`"));
    }

    #[tokio::test]
    async fn a_wait_ends_on_cancellation() {
        let cx = UpgradeContext::new("1", "2");
        cx.cancellation().cancel();
        let error = cx
            .bounded("forever", std::future::pending::<()>())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(
            cx.reach(0, 1).await.unwrap_err().kind(),
            ErrorKind::Cancelled
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_holds_the_migration_at_its_boundary_once() {
        let crash = Arc::new(CrashPoint::after(2));
        let cx = UpgradeContext::new("1", "2").with_crash(Arc::clone(&crash));
        cx.reach(0, 3).await.unwrap();
        cx.reach(1, 3).await.unwrap();
        let migration = async {
            cx.reach(2, 3).await.unwrap();
            tokio::time::advance(Duration::from_millis(7)).await;
            cx.reach(3, 3).await.unwrap();
        };
        let runner = async {
            crash.reached().await;
            crash.resume();
        };
        tokio::time::timeout(Duration::from_secs(5), async {
            tokio::join!(migration, runner)
        })
        .await
        .expect("both go on after the crash");
        assert_eq!(crash.laps().len(), 3);
        assert_eq!(crash.laps()[2], Duration::from_millis(7));
    }

    #[test]
    fn a_missing_endpoint_names_those_that_exist() {
        let cx = UpgradeContext::new("1", "2")
            .with_endpoints(Endpoints::default().with("database", Endpoint::new("postgres:///x")));
        let error = cx.endpoint("api").unwrap_err();
        assert!(error.to_string().contains("it offers: database"), "{error}");
    }
}
