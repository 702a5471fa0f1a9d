//! Metrics of runs, for OpenTelemetry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::event::{Event, EventRecord, EventSink};
use crate::ids::{Phase, StepId};
use crate::outcome::RollbackReport;
use crate::rollback::Estimate;

/// The bounds of the histograms, in seconds.
const SECONDS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 150.0, 300.0, 900.0, 3600.0,
];

/// A listener that turns the events of runs into metrics.
///
/// | metric | kind | attributes |
/// |---|---|---|
/// | `upgrade.runs` | counter | `passed` |
/// | `upgrade.step.duration` | histogram, seconds | `phase`, `outcome` |
/// | `upgrade.findings` | counter | `id`, `severity` |
/// | `upgrade.rollback.duration` | histogram, seconds | `strategy`, `part` (`detect`, `decide`, `act`, `verify`, `total`), `verified` |
/// | `upgrade.rollback.predicted` | gauge, seconds | |
/// | `upgrade.rollback.budget` | gauge, seconds | |
///
/// The last two are told while a new release is watched, where rehearsals have measured the rollback. For
/// spans no listener is needed: runs and steps are spans of [`tracing`], which a layer of the program can send
/// to OpenTelemetry.
///
/// ```
/// use opentelemetry::global;
/// use upgrade_core::reporter::metrics::Metrics;
///
/// let metrics = Metrics::new(&global::meter("deploy"));
/// // `Runner::with_sink(metrics)`, or `Operation::with_sink(metrics)`.
/// ```
pub struct Metrics {
    runs: Counter<u64>,
    steps: Histogram<f64>,
    findings: Counter<u64>,
    rollbacks: Histogram<f64>,
    predicted: Gauge<f64>,
    budget: Gauge<f64>,
    phases: Mutex<BTreeMap<StepId, Phase>>,
}

impl Metrics {
    /// Metrics of a meter.
    pub fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s");
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        let gauge = |name: &'static str| meter.f64_gauge(name).with_unit("s").build();
        Self {
            runs: meter.u64_counter("upgrade.runs").build(),
            steps: seconds("upgrade.step.duration"),
            findings: meter.u64_counter("upgrade.findings").build(),
            rollbacks: seconds("upgrade.rollback.duration"),
            predicted: gauge("upgrade.rollback.predicted"),
            budget: gauge("upgrade.rollback.budget"),
            phases: Mutex::default(),
        }
    }

    fn phase(&self, step: StepId) -> &'static str {
        let phases = self.phases.lock();
        let phases = phases.unwrap_or_else(PoisonError::into_inner);
        phases.get(&step).map_or("", |phase| phase.as_str())
    }

    fn rollback(&self, rollback: &RollbackReport) {
        for (part, ms) in [
            ("detect", rollback.detect_ms),
            ("decide", rollback.decide_ms),
            ("act", rollback.act_ms),
            ("verify", rollback.verify_ms),
            ("total", rollback.total_ms()),
        ] {
            let attributes = [
                KeyValue::new("strategy", rollback.strategy.clone()),
                KeyValue::new("part", part),
                KeyValue::new("verified", rollback.confirmed),
            ];
            self.rollbacks.record(seconds(ms), &attributes);
        }
    }

    fn prediction(&self, estimate: &Estimate) {
        self.predicted.record(seconds(estimate.total_ms()), &[]);
        self.budget.record(seconds(estimate.within_ms), &[]);
    }
}

impl EventSink for Metrics {
    fn record(&self, record: &EventRecord) {
        match &record.event {
            Event::StepStarted { step, phase, .. } => {
                let phases = self.phases.lock();
                let mut phases = phases.unwrap_or_else(PoisonError::into_inner);
                phases.insert(*step, *phase);
            }
            Event::StepFinished {
                step,
                outcome,
                elapsed_ms,
            } => {
                let attributes = [
                    KeyValue::new("phase", self.phase(*step)),
                    KeyValue::new("outcome", outcome.as_str()),
                ];
                self.steps.record(seconds(*elapsed_ms), &attributes);
            }
            Event::FindingRaised { finding, .. } => {
                let attributes = [
                    KeyValue::new("id", finding.id.clone()),
                    KeyValue::new("severity", finding.severity.to_string()),
                ];
                self.findings.add(1, &attributes);
            }
            Event::RollbackPredicted { estimate } => self.prediction(estimate),
            Event::RollbackFinished { rollback, .. } => self.rollback(rollback),
            Event::RunFinished { passed, .. } => {
                self.runs.add(1, &[KeyValue::new("passed", *passed)]);
            }
            Event::RunStarted { .. }
            | Event::StatementReached { .. }
            | Event::LockAwaited { .. }
            | Event::Measured { .. }
            | Event::Attached { .. } => {}
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    use super::*;
    use crate::event::EventHub;
    use crate::finding::Finding;
    use crate::ids::MigrationId;
    use crate::outcome::StepOutcome;

    #[test]
    fn the_events_of_a_run_are_metrics() {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let metrics = Metrics::new(&provider.meter("test"));
        let hub = EventHub::new(vec![std::sync::Arc::new(metrics)]);
        let step = StepId(7);
        let rollback = RollbackReport::sample(step, MigrationId::new("2", "note"));
        let estimate = Estimate::new(
            &[1, 2, 4].map(|bytes| crate::rollback::Timing {
                strategy: "downs".to_owned(),
                bytes,
                decide_ms: 0,
                act_ms: 2_000,
                verify_ms: 0,
            }),
            "downs",
            3,
            300_000,
        );
        for event in [
            Event::StepStarted {
                step,
                phase: Phase::Soak,
                title: "watch".to_owned(),
            },
            Event::RollbackPredicted {
                estimate: estimate.unwrap(),
            },
            Event::FindingRaised {
                step,
                finding: Finding::error("watch/failed", "release 2", "it fails"),
            },
            Event::StepFinished {
                step,
                outcome: StepOutcome::Failed,
                elapsed_ms: 1_500,
            },
            Event::RollbackFinished { step, rollback },
            Event::RunFinished {
                passed: false,
                elapsed_ms: 2_000,
            },
        ] {
            hub.emit(event);
        }
        provider.force_flush().unwrap();
        let told = format!("{:?}", exporter.get_finished_metrics().unwrap());
        for part in [
            "upgrade.runs",
            "upgrade.step.duration",
            "upgrade.findings",
            "upgrade.rollback.duration",
            "upgrade.rollback.predicted",
            "upgrade.rollback.budget",
            "soak",
            "watch/failed",
            "snapshot swap",
            "verify",
            "1.5",
            "300.0",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
    }
}
