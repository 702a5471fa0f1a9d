//! How long a rollback takes, from what rehearsals have measured.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outcome::RollbackReport;

/// At how many sizes of data a rollback has to be measured.
const SIZES: usize = 3;

/// By what factor the largest of the sizes has to exceed the smallest.
const RANGE: u64 = 4;

/// A verified rollback of a rehearsal, with the size of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timing {
    /// The strategy.
    pub strategy: String,
    /// The size of the data, in bytes.
    pub bytes: u64,
    /// How long the check took, in milliseconds.
    pub decide_ms: u64,
    /// How long the rollback took, in milliseconds.
    pub act_ms: u64,
    /// How long the proof took, in milliseconds.
    pub verify_ms: u64,
}

impl Timing {
    /// Of a rollback with data of a known size.
    pub(crate) fn of(rollback: &RollbackReport) -> Option<Self> {
        Some(Self {
            strategy: rollback.strategy.clone(),
            bytes: rollback.bytes?,
            decide_ms: rollback.decide_ms,
            act_ms: rollback.act_ms,
            verify_ms: rollback.verify_ms,
        })
    }
}

/// How long a rollback is predicted to take.
///
/// Each part is a straight line through what rehearsals measured, by least squares over the size of the
/// data, and above it the most by which a measurement exceeded that line. A part that shrinks with the size
/// counts as constant, at the largest value that was measured. Rehearsals at three sizes are needed, of
/// which the largest is at least four times the smallest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The size of the data for which it is predicted, in bytes.
    pub bytes: u64,
    /// The largest size that was measured, in bytes.
    pub measured_bytes: u64,
    /// Until it is seen that something is wrong, in milliseconds. 0 for a rollback that a person decides on.
    pub detect_ms: u64,
    /// Until the rollback is known to be possible, in milliseconds.
    pub decide_ms: u64,
    /// Until it is executed, in milliseconds.
    pub act_ms: u64,
    /// Until the previous state is verified, in milliseconds.
    pub verify_ms: u64,
    /// The budget, in milliseconds.
    pub within_ms: u64,
}

impl Estimate {
    /// Predicts the rollback by a strategy; nothing where too little was measured.
    pub(crate) fn new(
        timings: &[Timing],
        strategy: &str,
        bytes: u64,
        within_ms: u64,
    ) -> Option<Self> {
        let of_it = timings.iter().filter(|timing| timing.strategy == strategy);
        let measured: Vec<&Timing> = of_it.collect();
        let sizes: BTreeSet<u64> = measured.iter().map(|timing| timing.bytes).collect();
        let (smallest, largest) = (*sizes.first()?, *sizes.last()?);
        if sizes.len() < SIZES || largest < smallest.saturating_mul(RANGE) {
            return None;
        }
        let part = |of: fn(&Timing) -> u64| {
            let points = measured.iter().map(|timing| (timing.bytes, of(timing)));
            predicted(&points.collect::<Vec<_>>(), bytes)
        };
        Some(Self {
            bytes,
            measured_bytes: largest,
            detect_ms: 0,
            decide_ms: part(|timing| timing.decide_ms),
            act_ms: part(|timing| timing.act_ms),
            verify_ms: part(|timing| timing.verify_ms),
            within_ms,
        })
    }

    /// The sum of the four parts, in milliseconds.
    pub fn total_ms(&self) -> u64 {
        self.detect_ms + self.decide_ms + self.act_ms + self.verify_ms
    }

    /// Whether it fits its budget.
    pub fn fits(&self) -> bool {
        self.total_ms() <= self.within_ms
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [detect, decide, act, verify] =
            [self.detect_ms, self.decide_ms, self.act_ms, self.verify_ms].map(seconds);
        let total = seconds(self.total_ms());
        let within = seconds(self.within_ms);
        write!(
            f,
            "{total:.1} s of {within:.0} s (detect {detect:.1}, decide {decide:.1}, act {act:.1}, verify {verify:.1})"
        )?;
        let (here, there) = (self.bytes, self.measured_bytes.max(1));
        if here > there {
            let times = ratio(here, there);
            write!(
                f,
                ", for {times:.0} times the data of the largest rehearsal"
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

/// The line through points by least squares, at `at`, and the most by which a point lies above the line.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate in milliseconds, which is positive"
)]
fn predicted(points: &[(u64, u64)], at: u64) -> u64 {
    let count = points.len() as f64;
    let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x as f64, *y as f64)).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let slope = (together / spread).max(0.0);
    let line = |at: f64| y + slope * (at - x);
    let above = points
        .iter()
        .map(|point| point.1 - line(point.0))
        .fold(0.0, f64::max);
    (line(at as f64) + above).max(0.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timing(bytes: u64, act_ms: u64) -> Timing {
        Timing {
            strategy: "swap".to_owned(),
            bytes,
            decide_ms: 10,
            act_ms,
            verify_ms: 20,
        }
    }

    fn estimate(timings: &[Timing], bytes: u64) -> Option<Estimate> {
        Estimate::new(timings, "swap", bytes, 300_000)
    }

    #[test]
    fn a_line_is_followed_and_its_noise_is_added() {
        let straight = [timing(100, 1_000), timing(200, 2_000), timing(400, 4_000)];
        let ten = estimate(&straight, 4_000).unwrap();
        assert_eq!((ten.decide_ms, ten.act_ms, ten.verify_ms), (10, 40_000, 20));
        assert!(ten.fits());
        assert!(!estimate(&straight, 40_000).unwrap().fits());
        assert_eq!(
            ten.to_string(),
            "40.0 s of 300 s (detect 0.0, decide 0.0, act 40.0, verify 0.0), for 10 times the data of the largest rehearsal"
        );
        let noisy = [timing(100, 1_000), timing(200, 2_600), timing(400, 4_000)];
        assert!(estimate(&noisy, 4_000).unwrap().act_ms > 38_000);
    }

    #[test]
    fn too_little_predicts_nothing() {
        for timings in [
            vec![],
            vec![timing(100, 1), timing(400, 4)],
            vec![timing(100, 1), timing(100, 1), timing(400, 4)],
            vec![timing(100, 1), timing(200, 2), timing(300, 3)],
        ] {
            assert_eq!(estimate(&timings, 1_000), None, "{timings:?}");
        }
        let other = [timing(100, 1), timing(200, 2), timing(400, 4)];
        assert_eq!(Estimate::new(&other, "downs", 1_000, 1), None);
    }

    proptest! {
        #[test]
        fn nothing_that_was_measured_took_longer_than_predicted(
            acts in prop::collection::vec((1_u64..1_000_000_000, 0_u64..600_000), 3..12),
        ) {
            let timings: Vec<Timing> = acts.iter().map(|(bytes, act)| timing(*bytes, *act)).collect();
            for Timing { bytes, act_ms, .. } in &timings {
                if let Some(estimate) = estimate(&timings, *bytes) {
                    prop_assert!(estimate.act_ms >= *act_ms);
                }
            }
        }
    }
}
