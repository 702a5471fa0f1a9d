mod laws;
mod model;
mod policy;

use std::time::Duration;

use super::*;
use crate::error::ErrorKind;

const CHECKS: [&str; 3] = ["a", "b", "c"];

/// What was seen, when, and of which check.
type Observed = (Duration, &'static str, Seen);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn roll_back(times: u32, of: u32) -> Rule {
    Rule::RollBack {
        checks: Checks::All,
        failed: Limit::new(times, of),
    }
}

fn ask(on: Condition) -> Rule {
    Rule::Ask {
        checks: Checks::All,
        on,
    }
}

/// A watch of a minute that evaluates each second.
fn policy(rules: impl IntoIterator<Item = Rule>) -> WatchPolicy {
    let mut policy = WatchPolicy::new(secs(60), secs(1));
    policy.rules.extend(rules);
    policy
}

fn fail(message: &str) -> Seen {
    Seen::Fail(message.to_owned())
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::GoOn => "go on",
        Decision::Done => "done",
        Decision::Ask { .. } => "ask",
        Decision::RollBack { .. } => "roll back",
    }
}

fn decider(policy: &WatchPolicy) -> Decider {
    Decider::new(policy.clone(), CHECKS).unwrap()
}

/// What is decided after observations of `a`, while the others pass.
fn decided(rules: &[Rule], seen: &[Seen], at: u64) -> Decision {
    let mut decider = decider(&policy(rules.to_vec()));
    for (second, seen) in (1..).zip(seen) {
        for other in ["b", "c"] {
            decider.observe(secs(second), other, Seen::Pass).unwrap();
        }
        decider.observe(secs(second), "a", seen.clone()).unwrap();
    }
    decider.decision(secs(at))
}

#[test]
fn a_reason_names_the_check_how_often_and_the_newest_message() {
    let few = Seen::Inconclusive("no requests".into());
    let down = Seen::Error("connection refused".into());
    let pass = Seen::Pass;
    let limit = Limit::new(3, 5);
    let rules = [
        roll_back(3, 5),
        ask(Condition::Inconclusive(limit)),
        ask(Condition::Error(limit)),
        ask(Condition::Silent { for_ms: 20_000 }),
    ];
    let roll_back = |reason: &str| Decision::RollBack {
        reason: reason.to_owned(),
    };
    let ask = |reason: &str| Decision::Ask {
        reason: reason.to_owned(),
    };
    for (seen, at, expected) in [
        (
            vec![
                fail("1"),
                pass.clone(),
                fail("2"),
                few.clone(),
                pass.clone(),
                fail("3"),
            ],
            6,
            roll_back("`a` failed 3 of the last 5 times, most recently: 3"),
        ),
        (
            vec![fail(""), fail(""), fail("")],
            3,
            roll_back("`a` failed the last 3 times"),
        ),
        (
            vec![few.clone(), few.clone(), pass.clone(), few.clone()],
            4,
            ask("`a` was inconclusive 3 of the last 4 times, most recently: no requests"),
        ),
        (
            vec![down.clone(), down.clone(), fail("1"), down.clone()],
            4,
            ask(
                "`a` could not be evaluated 3 of the last 4 times, most recently: connection refused",
            ),
        ),
        (
            vec![pass.clone()],
            21,
            ask("nothing was seen of `a` for 20s"),
        ),
        (vec![fail("1"), fail("2")], 20, Decision::GoOn),
    ] {
        assert_eq!(decided(&rules, &seen, at), expected);
    }
    let rules = &rules[..3];
    for (seen, expected) in [
        (
            vec![few.clone(), down],
            ask(
                "`a` passed or failed 0 times in 60s, and 1 are needed, most recently: connection refused",
            ),
        ),
        (
            vec![pass.clone(), fail("1"), few],
            ask("the time is over, and `a` failed the last time, most recently: 1"),
        ),
        (vec![fail("1"), pass], Decision::Done),
    ] {
        assert_eq!(decided(rules, &seen, 60), expected);
    }
}

#[test]
fn a_question_is_withdrawn_when_its_reason_no_longer_holds() {
    let mut decider = decider(&policy([
        roll_back(3, 5),
        ask(Condition::Error(Limit::new(2, 3))),
    ]));
    for second in 1..=2 {
        decider
            .observe(secs(second), "a", Seen::Error(String::new()))
            .unwrap();
    }
    assert_eq!(name(&decider.decision(secs(2))), "ask");
    for second in 3..=4 {
        decider.observe(secs(second), "a", Seen::Pass).unwrap();
    }
    assert_eq!(decider.decision(secs(4)), Decision::GoOn);
}

#[test]
fn an_unknown_check_is_an_error() {
    let error = decider(&WatchPolicy::patch())
        .observe(secs(1), "other", Seen::Pass)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
