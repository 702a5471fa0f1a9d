//! What the runner tells. Progress, reports, notifications and the journal are made from events
//! and from nothing else.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::ids::{Phase, RunId, StepId};
use crate::measurement::{Attachment, Measurement};
use crate::outcome::{RollbackReport, StepOutcome};
use crate::plan::Plan;
use crate::rollback::estimate::Estimate;

/// A session that holds a lock for which a migration waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockHolder {
    /// Its process on the server.
    pub pid: i32,
    /// Its role. What a role may not see of other sessions is `None`.
    pub role: Option<String>,
    /// The name that its program gave.
    pub application: Option<String>,
    /// What it does: `active`, `idle in transaction`, ...
    pub state: Option<String>,
    /// How long its transaction has lasted, in seconds.
    pub in_transaction_s: Option<u64>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server process {}", self.pid)?;
        for (what, value) in [("role", &self.role), ("program", &self.application)] {
            if let Some(value) = value {
                write!(f, ", {what} {value}")?;
            }
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(seconds) = self.in_transaction_s {
            write!(f, ", for {seconds} s")?;
        }
        Ok(())
    }
}

/// One thing that happened, in the past tense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A run began; this is what it will do.
    RunStarted {
        /// The run.
        run: RunId,
        /// Its plan.
        plan: Plan,
    },
    /// A step began.
    StepStarted {
        /// The step.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// A short description of what it does.
        title: String,
    },
    /// A migration stands between two of its statements.
    StatementReached {
        /// How many are done.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// A migration waits for a lock on a live system. It is reported again when others hold the lock, and
    /// every ten seconds.
    LockAwaited {
        /// Who holds it.
        holders: Vec<LockHolder>,
    },
    /// A step ended. The last step of a run ends a second time, as failed, if a known finding was not
    /// found.
    StepFinished {
        /// The step.
        step: StepId,
        /// How it ended.
        outcome: StepOutcome,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// Something was found.
    FindingRaised {
        /// The step in which it was found.
        step: StepId,
        /// What.
        finding: Finding,
    },
    /// A validator measured something.
    Measured {
        /// The step in which it was measured.
        step: StepId,
        /// The figure.
        measurement: Measurement,
    },
    /// A validator attached a file.
    Attached {
        /// The step.
        step: StepId,
        /// The file.
        attachment: Attachment,
    },
    /// How long a rollback would take now, while the new release is watched; told at each look.
    RollbackPredicted {
        /// The prediction.
        estimate: Estimate,
    },
    /// A rollback came to its end and was measured.
    RollbackFinished {
        /// The step.
        step: StepId,
        /// What was measured.
        rollback: RollbackReport,
    },
    /// A run ended.
    RunFinished {
        /// Whether no check failed.
        passed: bool,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
}

/// An [`Event`] with its place in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventRecord {
    /// Counted from 0, without gaps.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
}

/// Listens to a run.
///
/// A sink must not block for long and cannot fail a run: what goes wrong in it is its own affair.
/// A closure that takes `&EventRecord` is a sink.
pub trait EventSink: Send + Sync + 'static {
    /// Is told one event; in order, one at a time.
    fn record(&self, record: &EventRecord);
}

impl<F: Fn(&EventRecord) + Send + Sync + 'static> EventSink for F {
    fn record(&self, record: &EventRecord) {
        self(record);
    }
}

/// Hands events to all sinks, numbered and timed.
#[derive(Clone, Default)]
pub(crate) struct EventHub(Option<Arc<Hub>>);

struct Hub {
    started: Instant,
    next: Mutex<u64>,
    sinks: Vec<Arc<dyn EventSink>>,
}

impl EventHub {
    pub(crate) fn new(sinks: Vec<Arc<dyn EventSink>>) -> Self {
        Self(Some(Arc::new(Hub {
            started: Instant::now(),
            next: Mutex::new(0),
            sinks,
        })))
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.as_ref().is_some_and(|hub| !hub.sinks.is_empty())
    }

    pub(crate) fn emit(&self, event: Event) {
        let Some(hub) = &self.0 else { return };
        // The lock is held while the sinks run, so that all of them see one order.
        let mut next = hub.next.lock().unwrap_or_else(PoisonError::into_inner);
        let record = EventRecord {
            seq: *next,
            at_ms: millis(hub.started.elapsed()),
            event,
        };
        *next += 1;
        for sink in &hub.sinks {
            sink.record(&record);
        }
    }
}

impl fmt::Debug for EventHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHub").finish_non_exhaustive()
    }
}

/// Whole milliseconds, rounded up: what took any time at all is never 0.
pub(crate) fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_without_gaps() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let hub = EventHub::new(vec![Arc::new(move |record: &EventRecord| {
            sink.lock().unwrap().push(record.seq);
        })]);
        for done in 0..3 {
            hub.emit(Event::StatementReached { done, of: 3 });
        }
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn milliseconds_are_rounded_up() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(7)), 7);
    }
}
