//! Rehearsed crashes: a migration is interrupted, and what it left is told from what its tool says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::migrate::refused;
use super::migration;
use crate::context::{CrashPoint, UpgradeContext};
use crate::environment::{At, DatabaseFaults, Fault};
use crate::error::Result;
use crate::finding::Finding;
use crate::migration::{Migration, MigrationId, Outcome, Status};
use crate::observation::{Observation, Scope};
use crate::plan::{Action, Moment, Step, Victim, again, past};
use crate::runner::deadline::in_time;
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;

/// A statement that ends sooner has no middle in which a crash could happen.
const SHORTEST: Duration = Duration::from_millis(20);

/// What crashes have left so far.
#[derive(Debug, Default)]
pub(in crate::runner) struct Crashes {
    /// How long each statement took when nothing crashed, by migration.
    laps: BTreeMap<MigrationId, Vec<Duration>>,
    /// The states that crashes of a migration have left, with what its tool said.
    left: BTreeMap<MigrationId, Vec<(Record, Observation)>>,
    /// The unlogged tables that had rows when the server crashed: a crash empties them, in every
    /// database of the server, so they are compared no more.
    emptied: BTreeSet<String>,
    /// The labels of the states from which the downs lead back, and the upgrade then arrives.
    recovered: BTreeSet<String>,
}

/// What the record of the tool says of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    Pending,
    Applied,
    Dirty,
}

impl Record {
    fn of(status: &Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Applied | Status::Divergent { .. } => Self::Applied,
            Status::Dirty => Self::Dirty,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Pending => "that it is pending",
            Self::Applied => "that it is applied",
            Self::Dirty => "that it was begun and has not ended",
        }
    }
}

impl Crashes {
    /// Applies a migration, and remembers how long its statements took.
    pub(in crate::runner) async fn measured(
        &mut self,
        migration: &dyn Migration,
        cx: &UpgradeContext,
    ) -> Result<Outcome> {
        let clock = Arc::new(CrashPoint::measuring());
        let outcome = migration
            .apply(&cx.clone().with_crash(Arc::clone(&clock)))
            .await?;
        if !matches!(outcome, Outcome::Failed(_)) {
            self.laps
                .entry(migration.id().clone())
                .or_insert_with(|| clock.laps());
        }
        Ok(outcome)
    }

    /// How long a migration runs until it certainly waits for a snapshot that is held.
    fn until_it_waits(&self, id: &MigrationId) -> Duration {
        let laps: Duration = self.laps.get(id).into_iter().flatten().sum();
        laps * 2 + Duration::from_millis(200)
    }

    /// Notes that the downs lead back from a state that a crash has left, and that the upgrade
    /// arrives from there.
    pub(in crate::runner) fn recovers(&mut self, label: &str) {
        self.recovered.insert(label.to_owned());
    }

    /// Whether they do.
    pub(in crate::runner) fn is_recovered(&self, label: &str) -> bool {
        self.recovered.contains(label)
    }

    /// The tables that are compared no more.
    pub(in crate::runner) fn emptied(&self) -> &BTreeSet<String> {
        &self.emptied
    }

    /// Whether a crash can happen: the migration ends well when nothing crashes, and a statement
    /// takes long enough to have a middle.
    pub(in crate::runner) fn can_crash(&self, id: &MigrationId, moment: Moment) -> bool {
        match moment {
            Moment::WithinLongest => self.longest(id).is_some(),
            Moment::After(_) | Moment::WhileWaiting => self.laps.contains_key(id),
        }
    }

    /// The statement that took longest, by how many are done before it, and how long it took.
    fn longest(&self, id: &MigrationId) -> Option<(usize, Duration)> {
        let laps = self.laps.get(id)?.iter().copied().enumerate();
        laps.max_by_key(|(_, lap)| *lap)
            .filter(|(_, lap)| *lap >= SHORTEST)
    }
}

/// Applies a migration and lets it crash. That it then fails is what the step is for.
pub(in crate::runner) async fn crash(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    id: &MigrationId,
    moment: Moment,
    victim: Victim,
) -> StepResult {
    let migration = run.begin(cx, id).await?;
    let (point, delay) = match moment {
        Moment::After(done) => (CrashPoint::after(done), Duration::ZERO),
        Moment::WithinLongest => {
            let (done, lap) = run.crashes.longest(id).unwrap_or_default();
            (CrashPoint::within(done), lap / 2)
        }
        Moment::WhileWaiting => {
            faults(run)?.inject(cx, Fault::HoldSnapshot).await?;
            (CrashPoint::within(0), run.crashes.until_it_waits(id))
        }
    };
    let mut findings = Vec::new();
    if victim == Victim::Server {
        let now = run.environment.observe(cx, &At::Live, &Scope::All).await?;
        let emptied = unlogged(&now);
        findings.extend(emptied.difference(&run.crashes.emptied).map(|table| {
            let message = "is unlogged: a crash of the server empties it, as it has done here";
            Finding::note("crash/unlogged-emptied", format!("table {table}"), message)
        }));
        run.crashes.emptied.extend(emptied);
    }
    let point = Arc::new(point);
    let crashing = cx.clone().with_crash(Arc::clone(&point));
    let mut applying = Box::pin(migration.apply(&crashing));
    let mut result = None;
    let crash = async {
        point.reached().await;
        // It waits for nothing: the crash has to happen while the statement runs, so the time is
        // what is asked for.
        tokio::time::sleep(delay).await;
    };
    tokio::select! {
        biased;
        ended = &mut applying => result = Some(ended),
        () = crash => {}
    }
    let injected = result.is_none();
    if injected {
        let fault = match victim {
            Victim::Session => Fault::TerminateSessions,
            Victim::Server => Fault::KillServer,
            Victim::Process => Fault::KillProcess,
        };
        if victim == Victim::Process {
            // Its connections are closed without a message, as those of a process that is killed.
            drop(applying);
            faults(run)?.inject(cx, fault).await?;
        } else {
            let faults = faults(run)?;
            let injecting = async {
                let injected = faults.inject(cx, fault).await;
                point.resume();
                injected
            };
            let (injected, ended) = tokio::join!(injecting, applying);
            injected?;
            result = Some(ended);
        }
    }
    run.crashed = Some(id.clone());
    if let Some(report) = run.migration_report(id) {
        report.crashed += 1;
    }
    match result.map(in_time) {
        None => {}
        Some(Err(_) | Ok(Outcome::Failed(_))) if injected => {}
        Some(Ok(Outcome::Failed(failure))) => findings.push(refused("up/failed", id, &failure)),
        Some(Err(error)) => return Err(error.with_context("migration", id)),
        Some(Ok(Outcome::Done | Outcome::NothingToDo)) => findings.push(Finding::note(
            "crash/not-felt",
            format!("migration {id}"),
            format!("it finished before the {victim} was killed {moment}"),
        )),
    }
    Ok(verdict(findings))
}

fn faults<'r>(run: &'r Run<'_>) -> Result<&'r dyn DatabaseFaults> {
    run.has(run.environment.database_faults(), "faults of its database")
}

/// A state that a crash has left has led to the one that is reached without a crash: by running the
/// migration again, or by a rollback and a second upgrade.
pub(in crate::runner) fn arrived(run: &mut Run<'_>, step: &Step) {
    let mut before = past::before(run.plan, step);
    if before.any(|other| matches!(other.action, Action::RollBack { .. })) {
        if let Some(label) = past::restored(run.plan, step) {
            run.crashes.recovers(label);
        }
    } else if let Some(last) = run.applied.last().cloned()
        && let Some(report) = run.migration_report(&last)
    {
        report.crash.run_again += 1;
    }
}

/// Compares the record of the tool with what a crash has left, and keeps the state if it is one
/// that no earlier crash of the migration has left.
pub(in crate::runner) async fn judge_crash(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    id: &MigrationId,
    (before, after): (&str, &str),
    label: &str,
) -> StepResult {
    let status = migration(run, id)?.status(cx).await?;
    let record = Record::of(&status);
    let mut left = run.environment.observe(cx, &At::Live, &Scope::All).await?;
    without(&mut left, &run.crashes.emptied);
    let moving = moving(run, after);
    let is = |label: &str, ignored: &BTreeSet<String>| {
        let mut expected = run.observed(label)?.clone();
        without(&mut expected, &run.crashes.emptied);
        Ok::<_, crate::Error>(same(&expected, &left, ignored))
    };
    // The state before is a copy of what is expected; the state after was made once more.
    let undone = is(before, &BTreeSet::new())?;
    let done = is(after, &moving)?;
    let findings = judge(id, record, undone, done);
    if let Some(report) = run.migration_report(id) {
        let crash = &mut report.crash;
        match (undone, done) {
            (true, _) => crash.undone += 1,
            (false, true) => crash.done += 1,
            (false, false) => crash.between += 1,
        }
    }
    let known = run.crashes.left.entry(id.clone()).or_default();
    let seen = known
        .iter()
        .any(|(said, state)| *said == record && same(state, &left, &moving));
    if !seen {
        known.push((record, left));
        run.has(run.environment.snapshots(), "snapshots")?
            .take(cx, label)
            .await?;
        run.keep(label);
        if let Some(report) = run.migration_report(id) {
            report.crash.states += 1;
        }
    }
    Ok(verdict(findings))
}

/// What a person has to know about a state and its record. Whether there is a way out of it, the
/// ways out tell.
fn judge(id: &MigrationId, record: Record, undone: bool, done: bool) -> Vec<Finding> {
    let subject = format!("migration {id}");
    let says = record.says();
    match (record, undone, done) {
        (Record::Pending, true, _) | (Record::Applied, _, true) => Vec::new(),
        (Record::Applied, _, false) => vec![Finding::error(
            "crash/record-wrong",
            subject,
            format!("after the crash the record says {says}, and it is not"),
        )],
        (_, false, true) => vec![Finding::warning(
            "crash/record-wrong",
            subject,
            format!("after the crash all of it is there, and the record says {says}"),
        )],
        (Record::Dirty, true, _) => vec![Finding::warning(
            "crash/record-wrong",
            subject,
            format!("after the crash nothing of it is there, and the record says {says}"),
        )],
        (_, false, false) => vec![Finding::warning(
            "crash/half-applied",
            subject,
            format!("after the crash a part of it is there, and the record says {says}"),
        )],
    }
}

/// The tables that differ from one clean run to the next: they hold `now()`, for instance.
fn moving(run: &Run<'_>, label: &str) -> BTreeSet<String> {
    let (Some(once), Some(twice)) = (
        run.observations.get(label),
        run.observations.get(&again(label)),
    ) else {
        return BTreeSet::new();
    };
    let differs = |name: &&String| once.tables.get(*name) != twice.tables.get(*name);
    once.tables.keys().filter(differs).cloned().collect()
}

/// Takes out of both sides what says nothing about the migration: unlogged tables that a crash of
/// the server has emptied, and the values, but not the number, of rows that are others each time.
pub(in crate::runner) fn comparable(
    run: &Run<'_>,
    label: &str,
    expected: &mut Observation,
    actual: &mut Observation,
) {
    without(expected, &run.crashes.emptied);
    without(actual, &run.crashes.emptied);
    for name in moving(run, label) {
        if let (Some(expected), Some(actual)) =
            (expected.tables.get_mut(&name), actual.tables.get(&name))
        {
            expected.sum.clone_from(&actual.sum);
        }
    }
}

/// Whether two states are the same but for the rows of some tables.
fn same(expected: &Observation, actual: &Observation, ignored: &BTreeSet<String>) -> bool {
    let rows = |observation: &Observation| -> BTreeMap<String, (u64, String)> {
        let tables = observation.tables.iter();
        tables
            .filter(|(name, _)| !ignored.contains(*name))
            .map(|(name, table)| (name.clone(), (table.rows, table.sum.clone())))
            .collect()
    };
    expected.objects == actual.objects && rows(expected) == rows(actual)
}

/// Leaves the rows of tables out of an observation.
pub(in crate::runner) fn without(observation: &mut Observation, tables: &BTreeSet<String>) {
    observation.tables.retain(|name, _| !tables.contains(name));
}

/// The tables that a crash of the server empties.
fn unlogged(observation: &Observation) -> BTreeSet<String> {
    let is_unlogged = |name: &str| {
        let facts = observation.objects.get(&format!("table {name}"));
        facts.is_some_and(|facts| facts.lines().any(|line| line == "persistence: unlogged"))
    };
    let tables = observation.tables.iter();
    tables
        .filter(|(name, table)| table.rows > 0 && is_unlogged(name))
        .map(|(name, _)| name.clone())
        .collect()
}
