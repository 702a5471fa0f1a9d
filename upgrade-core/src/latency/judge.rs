//! From times of answers to a decision about each class of requests. No clock, no requests.

use std::time::Duration;

use super::options::LatencyOptions;
use crate::statistics::{at_least, median, signs_needed};

/// The part of runs that find a slowdown which is reported as the least visible one.
const POWER: f64 = 0.9;

/// How long each side took to answer the same request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) baseline: Duration,
    pub(super) secondary: Duration,
    pub(super) candidate: Duration,
}

/// What follows about one class from the rounds so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The candidate is slower than `fail_above` allows.
    Slower,
    /// The candidate is not slower by `pass_below`.
    NotSlower,
    /// Neither could be shown.
    Open,
    /// There are fewer blocks, or less time, than a verdict needs.
    TooFew,
    /// The baseline differs from itself, or a large slowdown would not be seen.
    TooNoisy,
}

/// What the rounds of a class show. Ratios are times of one side over times of the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) pairs: usize,
    pub(super) time: Duration,
    /// Of the candidate; the median, then the ends of its confidence interval if there are enough blocks.
    pub(super) ratio: f64,
    pub(super) interval: Option<(f64, f64)>,
    /// The same of the secondary: the noise.
    pub(super) noise: f64,
    pub(super) noise_interval: Option<(f64, f64)>,
    /// The least slowdown that would have been seen, as a part of the time; `None` where none would.
    pub(super) visible: Option<f64>,
}

/// Judges one class of requests by blocks of rounds, after every block.
///
/// Of a block only the medians of the logarithms of the rounds' ratios count, and of those only on which side of
/// a bound they are: stalls of the machine hit both sides alike, and rounds that are close in time are not
/// independent. The signs against a bound have an e-value (see [`signs_needed`]); the bounds for which that
/// reaches `2 * classes / alpha` are those outside of the confidence interval, which is valid at every time.
/// So the candidate is slower as soon as the interval begins above `fail_above`, and it is not slower as soon as
/// it ends below `pass_below`. Half of `alpha` is for each, shared by all classes.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    options: LatencyOptions,
    /// What an e-value has to reach.
    threshold: f64,
    /// Rounds of a block.
    block: usize,
    pending: Vec<Round>,
    candidate: Blocks,
    secondary: Blocks,
    /// The candidate over the secondary.
    again: Blocks,
    pairs: usize,
    time: Duration,
    decided: Option<Decision>,
}

impl Judge {
    /// A judge of one class among this number of them, by blocks of this size. The options are valid.
    pub(super) fn new(options: LatencyOptions, classes: usize, block: usize) -> Self {
        Self {
            options,
            threshold: 2.0 * classes as f64 / options.alpha,
            block,
            pending: Vec::new(),
            candidate: Blocks::default(),
            secondary: Blocks::default(),
            again: Blocks::default(),
            pairs: 0,
            time: Duration::ZERO,
            decided: None,
        }
    }

    /// Takes in a round that ended this long after the first one began. After a decision it is ignored.
    pub(super) fn observe(&mut self, at: Duration, round: Round) {
        if self.decided.is_some() {
            return;
        }
        self.pairs += 1;
        self.time = self.time.max(at);
        self.pending.push(round);
        if self.pending.len() < self.block {
            return;
        }
        let block = std::mem::take(&mut self.pending);
        let push = |blocks: &mut Blocks, of: fn(&Round) -> (Duration, Duration)| {
            blocks.push(block.iter().map(of));
        };
        push(&mut self.candidate, |it| (it.candidate, it.baseline));
        push(&mut self.secondary, |it| (it.secondary, it.baseline));
        push(&mut self.again, |it| (it.candidate, it.secondary));
        if self.is_enough() {
            self.decided = self.decide();
        }
    }

    /// Whether more rounds change nothing.
    pub(super) fn is_decided(&self) -> bool {
        self.decided.is_some()
    }

    /// What follows if there are no more rounds.
    pub(super) fn decision(&self) -> Decision {
        match self.decided {
            Some(decision) => decision,
            None if !self.is_enough() || self.visible().is_none() => Decision::TooFew,
            None if self.is_noisy() || self.is_blind() => Decision::TooNoisy,
            None => Decision::Open,
        }
    }

    fn is_enough(&self) -> bool {
        self.candidate.0.len() >= self.options.min_blocks && self.time >= self.options.min_time
    }

    fn decide(&self) -> Option<Decision> {
        let fail_above = self.options.fail_above.ln_1p();
        let (low, high) = self.candidate.interval(self.threshold)?;
        if low > fail_above {
            // A candidate that is slower than both of two baselines that differ is slower.
            let beyond_noise = || {
                let again = self.again.interval(self.threshold);
                again.is_some_and(|(low, _)| low > fail_above)
            };
            return (!self.is_noisy() || beyond_noise()).then_some(Decision::Slower);
        }
        let is_not_slower = high < self.options.pass_below.ln_1p();
        (is_not_slower && !self.is_noisy() && !self.is_blind()).then_some(Decision::NotSlower)
    }

    /// Whether the baseline differs from itself by as much as makes a candidate fail.
    fn is_noisy(&self) -> bool {
        let bound = self.options.fail_above.ln_1p();
        let noise = self.secondary.interval(self.threshold);
        noise.is_some_and(|(low, high)| low > bound || high < -bound)
    }

    /// Whether even a large slowdown would not be seen.
    fn is_blind(&self) -> bool {
        let visible = self.visible();
        visible.is_none_or(|visible| visible > self.options.blind_from)
    }

    fn visible(&self) -> Option<f64> {
        let bound = self.options.fail_above.ln_1p();
        let least = self.candidate.least_visible(self.threshold, bound)?;
        Some(least.exp_m1())
    }

    /// The figures so far; `None` without a complete block.
    pub(super) fn figures(&self) -> Option<Figures> {
        let interval = |blocks: &Blocks| {
            let (low, high) = blocks.interval(self.threshold)?;
            Some((low.exp(), high.exp()))
        };
        Some(Figures {
            pairs: self.pairs,
            time: self.time,
            ratio: self.candidate.median()?.exp(),
            interval: interval(&self.candidate),
            noise: self.secondary.median()?.exp(),
            noise_interval: interval(&self.secondary),
            visible: self.visible(),
        })
    }
}

/// For each block the median of the logarithms of its ratios, sorted.
#[derive(Debug, Clone, Default)]
struct Blocks(Vec<f64>);

impl Blocks {
    fn push(&mut self, pairs: impl Iterator<Item = (Duration, Duration)>) {
        // An answer within the resolution of the clock took one nanosecond.
        let nanos = |time: Duration| time.as_nanos().max(1) as f64;
        let mut logs: Vec<f64> = pairs
            .map(|(time, base)| (nanos(time) / nanos(base)).ln())
            .collect();
        logs.sort_by(f64::total_cmp);
        let middle = median(&logs);
        let at = self.0.partition_point(|other| *other < middle);
        self.0.insert(at, middle);
    }

    fn median(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| median(&self.0))
    }

    /// The bounds of which the signs of the blocks rule out neither side; `None` for too few blocks.
    fn interval(&self, threshold: f64) -> Option<(f64, f64)> {
        let needed = signs_needed(self.0.len(), threshold)?;
        Some((self.0[self.0.len() - needed], self.0[needed - 1]))
    }

    /// The least shift of all blocks with which the interval begins above a bound in nine of ten runs.
    ///
    /// The blocks around their median stand for the noise of other runs. A shift `s` puts a block above the
    /// bound with the chance `q(s)`, the part of them that is above `bound - s`. With `n` blocks, of which `k`
    /// are needed, it is seen with the chance of at least `k` successes in `n` trials with `q(s)` each. The
    /// result is the smallest `s` for which that is at least 0.9; as if blocks were independent.
    fn least_visible(&self, threshold: f64, bound: f64) -> Option<f64> {
        let (all, middle) = (self.0.len(), self.median()?);
        let needed = signs_needed(all, threshold)?;
        // How many of the blocks, the highest ones, have to be above the bound.
        let (mut few, mut enough) = (0, all);
        while few + 1 < enough {
            let count = usize::midpoint(few, enough);
            match at_least(needed, all, count as f64 / all as f64) >= POWER {
                true => enough = count,
                false => few = count,
            }
        }
        Some(bound - (self.0[all - enough] - middle))
    }
}

#[cfg(test)]
#[path = "tests/judge.rs"]
mod tests;
