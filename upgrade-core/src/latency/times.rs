//! Distributions of times, and the figures of a report.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::context::UpgradeContext;
use crate::measurement::Measurement;
use crate::side::Side;

/// The longest time that is told from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// The times of each side.
#[derive(Debug, Clone)]
pub(super) struct Times(BTreeMap<Side, OfSide>);

#[derive(Debug, Clone)]
struct OfSide {
    /// In nanoseconds, to three digits.
    histogram: Histogram<u64>,
    sum: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST, 3).expect("three digits are allowed");
        let of_side = OfSide {
            histogram,
            sum: Duration::ZERO,
        };
        Self(Side::ALL.map(|side| (side, of_side.clone())).into())
    }
}

impl Times {
    pub(super) fn record(&mut self, side: Side, time: Duration) {
        if let Some(of_side) = self.0.get_mut(&side) {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST);
            of_side.histogram.saturating_record(nanos.max(1));
            of_side.sum += time;
        }
    }

    /// The time below which this part of the answers of a side came, in milliseconds; `None` without any.
    pub(super) fn quantile(&self, side: Side, part: f64) -> Option<f64> {
        let histogram = &self.0.get(&side)?.histogram;
        (!histogram.is_empty()).then(|| histogram.value_at_quantile(part) as f64 / 1e6)
    }

    /// How many requests of one user after the other a side answers in a second.
    pub(super) fn throughput(&self, side: Side) -> Option<f64> {
        let of_side = self.0.get(&side)?;
        let seconds = of_side.sum.as_secs_f64();
        (seconds > 0.0).then(|| of_side.histogram.len() as f64 / seconds)
    }

    /// Reports p50, p95 and p99.
    pub(super) fn report(&self, cx: &UpgradeContext, subject: &str) {
        for (metric, part) in QUANTILES {
            measure(cx, subject, metric, "ms", |side| self.quantile(side, part));
        }
    }

    /// The quantiles of each side, one line a side.
    pub(super) fn table(&self) -> String {
        let line = |side: Side| {
            let figures = QUANTILES.map(|(metric, part)| {
                let ms = self.quantile(side, part)?;
                Some(format!("{metric} {ms:.3} ms"))
            });
            let figures: Option<Vec<String>> = figures.into_iter().collect();
            Some(format!("{side}: {}", figures?.join(", ")))
        };
        let lines: Vec<String> = Side::ALL.into_iter().filter_map(line).collect();
        lines.join("\n")
    }
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// Reports a figure of the sides; none where the candidate has none.
pub(super) fn measure(
    cx: &UpgradeContext,
    subject: &str,
    metric: &str,
    unit: &str,
    figure: impl Fn(Side) -> Option<f64>,
) {
    let Some(candidate) = figure(Side::Candidate) else {
        return;
    };
    let mut measurement = Measurement::new(subject, metric, unit, candidate);
    if let Some(baseline) = figure(Side::Baseline) {
        measurement = measurement.with_baseline(baseline);
    }
    if let Some(secondary) = figure(Side::Secondary) {
        measurement = measurement.with_secondary(secondary);
    }
    cx.measure(measurement);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_each_side() {
        let mut times = Times::default();
        assert_eq!(times.quantile(Side::Candidate, 0.5), None);
        for ms in 1..=100 {
            times.record(Side::Baseline, Duration::from_millis(ms));
            times.record(Side::Candidate, Duration::from_millis(2 * ms));
        }
        let p95 = times.quantile(Side::Candidate, 0.95).unwrap();
        assert!((p95 - 190.0).abs() < 0.5, "{p95}");
        let throughput = times.throughput(Side::Baseline).unwrap();
        assert!((throughput - 100.0 / 5.05).abs() < 1e-6, "{throughput}");
        let cx = UpgradeContext::new("1", "2");
        times.report(&cx, "GET /a");
        let measured = cx.take_noticed().measurements;
        let metrics: Vec<&str> = measured.iter().map(|it| it.metric.as_str()).collect();
        assert_eq!(metrics, ["p50", "p95", "p99"]);
        assert_eq!(measured[0].secondary, None);
        assert!(measured[0].baseline.unwrap() < measured[0].candidate);
        assert_eq!(times.table().lines().count(), 2);
    }
}
