//! The judge on made distributions: what it may not find, what it has to find, and its laws.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::latency::random::Random;

/// Blocks of 20 rounds; no time is needed, because these rounds have none.
const FAST: LatencyOptions = LatencyOptions {
    fail_above: 0.03,
    pass_below: 0.08,
    alpha: 0.01,
    block: Some(20),
    min_blocks: 40,
    min_time: Duration::ZERO,
    cap: Duration::from_secs(60),
    warm_up: Duration::ZERO,
    blind_from: 0.25,
};

/// A machine on which sides answer in a log-normal time that wanders, and stall.
struct Machine {
    random: Random,
    /// The standard deviation of the logarithm of the work.
    spread: f64,
    /// How often an answer is hit by a slice of another process.
    stalls: f64,
    /// How much slower everything is at the moment, as a logarithm.
    drift: f64,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            spread: 0.25,
            stalls: 0.05,
            drift: 0.0,
        }
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.random.fraction(), self.random.fraction());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// The time for this much of the usual work.
    fn answer(&mut self, work: f64) -> Duration {
        let micros = 200.0 * (self.drift + self.spread * self.normal()).exp() * work;
        let stall = match self.random.fraction() < self.stalls {
            true => 3000.0 * self.random.fraction(),
            false => 0.0,
        };
        Duration::from_secs_f64((micros + stall) / 1e6)
    }

    fn round(&mut self, secondary: f64, candidate: f64) -> Round {
        self.drift = (0.99 * self.drift + 0.05 * self.normal()).clamp(-1.0, 3.0);
        Round {
            baseline: self.answer(1.0),
            secondary: self.answer(secondary),
            candidate: self.answer(candidate),
        }
    }

    /// A judge that has seen a candidate of this work, in at most this number of rounds.
    fn judge(&mut self, options: LatencyOptions, candidate: f64, rounds: u32) -> Judge {
        let mut judge = Judge::new(options, 1, options.block.unwrap());
        for _ in 0..rounds {
            if judge.is_decided() {
                break;
            }
            let round = self.round(1.0, candidate);
            judge.observe(Duration::ZERO, round);
        }
        judge
    }
}

#[test]
fn identical_sides_never_fail_twice() {
    let (mut once, mut twice, mut passed) = (0, 0, 0);
    for trial in 0..2000 {
        let mut machine = Machine::new(trial);
        let mut run = || machine.judge(FAST, 1.0, 4000).decision();
        match run() {
            Decision::Slower => {
                once += 1;
                twice += u32::from(run() == Decision::Slower);
            }
            Decision::NotSlower => passed += 1,
            _ => {}
        }
    }
    assert_eq!(twice, 0);
    // Half of alpha would be 10; at 3 % below the bound it is far less.
    assert!(once <= 2, "{once}");
    assert!(passed >= 1800, "{passed}");
}

#[test]
fn at_the_bound_itself_a_run_fails_as_rarely_as_alpha_says() {
    // Every round is a block, evaluated after each: the worst case of a test that is evaluated all the time.
    let options = LatencyOptions {
        block: Some(1),
        blind_from: 1e9,
        ..FAST
    };
    let (mut slower, mut passed) = (0, 0);
    for trial in 0..300 {
        let mut machine = Machine::new(1 << 32 | trial);
        slower += u32::from(machine.judge(options, 1.03, 250).decision() == Decision::Slower);
        passed += u32::from(machine.judge(options, 1.08, 250).decision() == Decision::NotSlower);
    }
    // 0.005 of 300 is 1.5; more than 8 have a chance of 3 in 100,000 even then.
    assert!(slower <= 8 && passed <= 8, "{slower} {passed}");
}

#[test]
fn slower_sides_are_found() {
    let found = |work: f64, trials: u32| {
        let decisions: Vec<Decision> = (0..trials)
            .map(|trial| {
                Machine::new(u64::from(trial))
                    .judge(FAST, work, 8000)
                    .decision()
            })
            .collect();
        let part = |wanted| {
            let count = decisions
                .iter()
                .filter(|decision| **decision == wanted)
                .count();
            count as f64 / f64::from(trials)
        };
        (part(Decision::Slower), part(Decision::NotSlower))
    };
    let (slower, passed) = found(1.10, 100);
    assert!(slower >= 0.7 && passed <= 0.02, "{slower} {passed}");
    let (slower, passed) = found(1.20, 100);
    assert!(slower >= 0.98 && passed == 0.0, "{slower} {passed}");
}

#[test]
fn too_few_blocks_or_too_little_time_decide_nothing() {
    let mut machine = Machine::new(1);
    let few = machine.judge(FAST, 2.0, 39 * 20);
    assert_eq!(few.decision(), Decision::TooFew);
    assert!(few.figures().unwrap().visible.is_some());
    let options = LatencyOptions {
        min_time: Duration::from_secs(1),
        ..FAST
    };
    let short = machine.judge(options, 2.0, 4000);
    assert_eq!(short.decision(), Decision::TooFew);
    assert!(Judge::new(FAST, 1, 20).figures().is_none());
    assert_eq!(Judge::new(FAST, 1, 20).decision(), Decision::TooFew);
}

#[test]
fn a_baseline_that_differs_from_itself_is_noise_unless_the_candidate_exceeds_both() {
    let mut machine = Machine::new(5);
    let mut judged = |secondary: f64, candidate: f64| {
        let mut judge = Judge::new(FAST, 1, 20);
        for _ in 0..6000 {
            judge.observe(Duration::ZERO, machine.round(secondary, candidate));
        }
        judge.decision()
    };
    assert_eq!(judged(1.3, 1.3), Decision::TooNoisy);
    assert_eq!(judged(1.3, 1.0), Decision::TooNoisy);
    assert_eq!(judged(0.7, 1.0), Decision::TooNoisy);
    assert_eq!(judged(1.3, 2.0), Decision::Slower);
    assert_eq!(judged(1.0, 1.3), Decision::Slower);
    assert_eq!(judged(1.0, 1.0), Decision::NotSlower);
}

#[test]
fn a_machine_on_which_nothing_would_be_seen_passes_nothing() {
    let mut machine = Machine::new(3);
    machine.spread = 3.0;
    let options = LatencyOptions {
        block: Some(5),
        ..FAST
    };
    let judge = machine.judge(options, 1.0, 50 * 5);
    let figures = judge.figures().unwrap();
    assert_eq!(judge.decision(), Decision::TooNoisy, "{figures:?}");
    assert!(figures.visible.unwrap() > 0.25, "{figures:?}");
}

#[test]
fn the_least_visible_slowdown_is_found_in_about_nine_of_ten_runs() {
    let options = LatencyOptions {
        min_blocks: 60,
        ..FAST
    };
    let rounds = 60 * 20;
    let visible: Vec<f64> = (0..100)
        .map(|trial| Machine::new(900 + trial).judge(options, 1.0, rounds))
        .map(|judge| judge.figures().unwrap().visible.unwrap())
        .collect();
    let mean = visible.iter().sum::<f64>() / visible.len() as f64;
    let found = (0..200)
        .filter(|trial| {
            let judge = Machine::new(5000 + trial).judge(options, 1.0 + mean, rounds);
            judge.decision() == Decision::Slower
        })
        .count();
    // Stalls add the same to all work, so that the answers are slowed by a little less.
    assert!((140..=198).contains(&found), "{found} of 200 at {mean}");
}

#[test]
fn more_classes_need_more() {
    let mut machine = Machine::new(8);
    let rounds: Vec<Round> = (0..4000).map(|_| machine.round(1.0, 1.0)).collect();
    let width = |classes| {
        let mut judge = Judge::new(
            LatencyOptions {
                min_blocks: 9999,
                ..FAST
            },
            classes,
            20,
        );
        for round in &rounds {
            judge.observe(Duration::ZERO, *round);
        }
        let (low, high) = judge.figures().unwrap().interval.unwrap();
        high - low
    };
    assert!(width(1) < width(10));
}

/// Rounds of a generated machine, as nanoseconds of the three sides.
fn rounds() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    (any::<u64>(), 0.9..1.3_f64, 0.05..0.6_f64, 0..600_usize).prop_map(
        |(seed, work, spread, count)| {
            let mut machine = Machine::new(seed);
            machine.spread = spread;
            let nanos = |time: Duration| time.as_nanos() as u64;
            let mut round = || {
                let round = machine.round(1.0, work);
                (
                    nanos(round.baseline),
                    nanos(round.secondary),
                    nanos(round.candidate),
                )
            };
            (0..count).map(|_| round()).collect()
        },
    )
}

/// What follows from all rounds together, with every round in one of the blocks.
fn judged(rounds: impl IntoIterator<Item = (u64, u64, u64)>) -> Judge {
    let mut judge = Judge::new(
        LatencyOptions {
            block: Some(5),
            ..FAST
        },
        1,
        5,
    );
    for (baseline, secondary, candidate) in rounds {
        let [baseline, secondary, candidate] =
            [baseline, secondary, candidate].map(Duration::from_nanos);
        judge.observe(
            Duration::ZERO,
            Round {
                baseline,
                secondary,
                candidate,
            },
        );
    }
    judge
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_slower_candidate_never_passes_where_a_faster_one_fails(
        rounds in rounds(),
        more in 1.0..3.0_f64,
    ) {
        let slower = rounds.iter().map(|(a, b, c)| (*a, *b, (*c as f64 * more) as u64 + 1));
        let (fast, slow) = (judged(rounds.clone()), judged(slower));
        if fast.decision() == Decision::Slower {
            prop_assert_eq!(slow.decision(), Decision::Slower);
        }
        if slow.decision() == Decision::NotSlower {
            prop_assert_ne!(fast.decision(), Decision::Slower);
        }
    }

    #[test]
    fn swapped_sides_have_the_opposite_figures(rounds in rounds()) {
        let options = LatencyOptions { min_blocks: 9999, block: Some(5), ..FAST };
        let figures = |swap: bool| {
            let mut judge = Judge::new(options, 1, 5);
            for (a, b, c) in &rounds {
                let [a, b, c] = [*a, *b, *c].map(Duration::from_nanos);
                let (baseline, candidate) = if swap { (c, a) } else { (a, c) };
                judge.observe(Duration::ZERO, Round { baseline, secondary: b, candidate });
            }
            judge.figures()
        };
        match (figures(false), figures(true)) {
            (Some(one), Some(other)) => {
                prop_assert!((one.ratio * other.ratio - 1.0).abs() < 1e-9);
                prop_assert_eq!(one.interval.is_some(), other.interval.is_some());
                if let (Some((low, _)), Some((_, high))) = (one.interval, other.interval) {
                    prop_assert!((low * high - 1.0).abs() < 1e-9);
                }
            }
            (one, other) => prop_assert!(one.is_none() && other.is_none()),
        }
        let swapped = judged(rounds.iter().map(|(a, b, c)| (*c, *b, *a))).decision();
        let both = (judged(rounds.clone()).decision(), swapped);
        prop_assert_ne!(both, (Decision::Slower, Decision::Slower));
    }

    #[test]
    fn a_machine_that_is_slower_by_a_factor_changes_nothing(rounds in rounds(), factor in 1..1000_u64) {
        let scaled = rounds.iter().map(|(a, b, c)| (a * factor, b * factor, c * factor));
        let (one, other) = (judged(rounds.clone()), judged(scaled));
        prop_assert_eq!(one.decision(), other.decision());
        prop_assert_eq!(one.figures(), other.figures());
    }

    #[test]
    fn a_decision_stays(rounds in rounds()) {
        let mut judge = judged(rounds.clone());
        if judge.is_decided() {
            let (decision, figures) = (judge.decision(), judge.figures());
            for (a, b, c) in rounds {
                let [baseline, secondary, candidate] = [a, b, 9 * c].map(Duration::from_nanos);
                judge.observe(Duration::ZERO, Round { baseline, secondary, candidate });
            }
            prop_assert_eq!((judge.decision(), judge.figures()), (decision, figures));
        }
    }
}
