//! Times that were taken one after the other.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// Times of one operation, one for each round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Adds the time of a round.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time in the middle; zero for no rounds. Of an even number it is the lower one.
    pub fn median(&self) -> Duration {
        let mut times = self.0.clone();
        times.sort();
        let middle = times.len().saturating_sub(1) / 2;
        times.get(middle).copied().unwrap_or_default()
    }

    /// The shortest time; zero for no rounds.
    pub fn min(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    /// The times, in the order of the rounds.
    pub fn times(&self) -> &[Duration] {
        &self.0
    }

    /// The number of rounds.
    pub fn rounds(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// Median and minimum in milliseconds, and the number of rounds.
impl Serialize for Sample {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let mut fields = serializer.serialize_struct("Sample", 3)?;
        fields.serialize_field("median_ms", &ms(self.median()))?;
        fields.serialize_field("min_ms", &ms(self.min()))?;
        fields.serialize_field("rounds", &self.rounds())?;
        fields.end()
    }
}

/// The time that a future takes, and its value.
///
/// # Errors
/// Those of the future.
pub async fn timed<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<(Duration, T), E> {
    let start = Instant::now();
    let value = future.await?;
    Ok((start.elapsed(), value))
}

/// The order of `arms` operations in a round: every round begins with another one, so that none
/// always profits, or suffers, from what ran before it.
pub fn order(round: usize, arms: usize) -> impl Iterator<Item = usize> {
    (0..arms).map(move |arm| (round + arm) % arms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_shortest() {
        let check = |times: &[u64], median: u64, min: u64| {
            let sample: Sample = times.iter().copied().map(Duration::from_millis).collect();
            let got = (sample.median(), sample.min());
            let wanted = (Duration::from_millis(median), Duration::from_millis(min));
            assert_eq!(got, wanted, "{times:?}");
        };
        check(&[], 0, 0);
        check(&[7], 7, 7);
        check(&[9, 1, 5], 5, 1);
        check(&[9, 1, 5, 6], 5, 1);
    }

    #[test]
    fn every_round_has_every_arm_and_begins_with_another() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
