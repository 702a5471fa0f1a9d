//! What is slower, how sure a verdict has to be, and how long it may take.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// What counts as slower, how sure a verdict has to be, and how long measuring may take.
///
/// How often the defaults raise a false alarm, and which slowdowns they find, is measured by the program `latency`
/// among the benches of this workspace.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LatencyOptions {
    /// The slowdown from which on the verdict is a failure, as a part of the time of the baseline. Default:
    /// 0.03. Two processes of one program differ by up to this, from their start on.
    pub fail_above: f64,
    /// The slowdown that a pass rules out, as a part of the time of the baseline. Default: 0.08. More than
    /// [`fail_above`](Self::fail_above).
    pub pass_below: f64,
    /// How likely a false verdict may be, in one run and over all classes of requests together: half of it for
    /// a failure, half of it for a pass. Default: 0.01.
    pub alpha: f64,
    /// How many times a request of a class is sent to each side for one block, of which only the median counts;
    /// `None` chooses the largest number up to 100 with which a third of [`cap`](Self::cap) is enough for
    /// [`min_blocks`](Self::min_blocks), but at least 5. Default: `None`.
    pub block: Option<usize>,
    /// How many blocks a verdict needs at least. Default: 40.
    pub min_blocks: usize,
    /// How long measuring takes before any verdict. Default: 8 s.
    pub min_time: Duration,
    /// How long measuring may take; what is not decided then is inconclusive. Default: 60 s.
    pub cap: Duration,
    /// How long all sides are warmed up, at least with each request once. Default: 1 s.
    pub warm_up: Duration,
    /// A machine on which a smaller slowdown than this would not be seen is too noisy for a pass. Default: 0.25.
    pub blind_from: f64,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self {
            fail_above: 0.03,
            pass_below: 0.08,
            alpha: 0.01,
            block: None,
            min_blocks: 40,
            min_time: Duration::from_secs(8),
            cap: Duration::from_secs(60),
            warm_up: Duration::from_secs(1),
            blind_from: 0.25,
        }
    }
}

impl LatencyOptions {
    /// Whether the figures fit together.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the figure.
    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |problem: &str| {
            let message = format!("the options of a latency comparison are invalid: {problem}");
            Err(Error::new(ErrorKind::InvalidInput, message))
        };
        // Not `<`, so that what is no number is refused.
        if !(self.fail_above >= 0.0 && self.fail_above.is_finite()) {
            return invalid("`fail_above` must be 0 or more");
        }
        if !(self.pass_below > self.fail_above && self.pass_below.is_finite()) {
            return invalid("`pass_below` must be more than `fail_above`");
        }
        if !(self.alpha > 0.0 && self.alpha < 0.5) {
            return invalid("`alpha` must be between 0 and 0.5");
        }
        if self.block == Some(0) || self.min_blocks == 0 {
            return invalid("`block` and `min_blocks` must be 1 or more");
        }
        if self.cap.is_zero() || self.cap < self.min_time {
            return invalid("`cap` must be more than 0, and `min_time` or more");
        }
        if !(self.blind_from > 0.0 && self.blind_from.is_finite()) {
            return invalid("`blind_from` must be more than 0");
        }
        Ok(())
    }

    /// The size of a block of a class that has this many pairs of answers in a second.
    pub(super) fn block_at(&self, pairs_per_second: f64) -> usize {
        self.block.unwrap_or_else(|| {
            let pairs = pairs_per_second * self.cap.as_secs_f64() / 3.0;
            ((pairs / self.min_blocks as f64) as usize).clamp(5, 100)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_do_not_fit_are_refused() {
        let usual = LatencyOptions::default();
        usual.validate().unwrap();
        for (options, named) in [
            (
                LatencyOptions {
                    fail_above: f64::NAN,
                    ..usual
                },
                "`fail_above`",
            ),
            (
                LatencyOptions {
                    pass_below: 0.03,
                    ..usual
                },
                "`pass_below`",
            ),
            (
                LatencyOptions {
                    alpha: 0.0,
                    ..usual
                },
                "`alpha`",
            ),
            (
                LatencyOptions {
                    block: Some(0),
                    ..usual
                },
                "`block`",
            ),
            (
                LatencyOptions {
                    cap: Duration::from_secs(7),
                    ..usual
                },
                "`cap`",
            ),
            (
                LatencyOptions {
                    blind_from: f64::NAN,
                    ..usual
                },
                "`blind_from`",
            ),
        ] {
            let error = options.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn blocks_are_smaller_where_requests_are_slow() {
        let options = LatencyOptions::default();
        assert_eq!(options.block_at(2000.0), 100);
        assert_eq!(options.block_at(100.0), 50);
        assert_eq!(options.block_at(1.0), 5);
        assert_eq!(
            LatencyOptions {
                block: Some(7),
                ..options
            }
            .block_at(2000.0),
            7
        );
    }
}
