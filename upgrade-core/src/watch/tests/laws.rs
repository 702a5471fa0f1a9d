//! What holds for all policies and all sequences of observations.

use proptest::prelude::*;

use super::*;

fn limits() -> impl Strategy<Value = Limit> {
    (1..=8_u32).prop_flat_map(|of| (1..=of).prop_map(move |times| Limit::new(times, of)))
}

fn checks() -> impl Strategy<Value = Checks> {
    let named = proptest::sample::subsequence(&CHECKS[..], 1..=3);
    prop_oneof![Just(Checks::All), named.prop_map(Checks::named)]
}

/// Rules that never roll back, and so may be about anything.
fn questions() -> impl Strategy<Value = Rule> {
    let on = prop_oneof![
        limits().prop_map(Condition::Failed),
        limits().prop_map(Condition::Inconclusive),
        limits().prop_map(Condition::Error),
        (1001..60_000_u64).prop_map(|for_ms| Condition::Silent { for_ms }),
    ];
    (checks(), on).prop_map(|(checks, on)| Rule::Ask { checks, on })
}

fn policies() -> impl Strategy<Value = WatchPolicy> {
    let narrow =
        (checks(), limits()).prop_map(|(checks, failed)| Rule::RollBack { checks, failed });
    let rules = proptest::collection::vec(prop_oneof![questions(), narrow], 0..4);
    (rules, limits(), 1..=6_u32).prop_map(|(rules, limit, min_samples)| {
        let mut policy = policy(rules);
        policy.rules.push(roll_back(limit.times, limit.of));
        policy.min_samples = min_samples;
        policy
    })
}

/// Observations in any order of time, most of them good.
fn observations(
    seen: impl Strategy<Value = Seen> + 'static,
) -> impl Strategy<Value = Vec<Observed>> {
    let seen = prop_oneof![4 => Just(Seen::Pass), 3 => seen.boxed()];
    let one = (0..70_000_u64, proptest::sample::select(&CHECKS[..]), seen);
    let one = one.prop_map(|(at, check, seen)| (Duration::from_millis(at), check, seen));
    (proptest::collection::vec(one, 0..30), any::<bool>()).prop_map(|(mut all, sorted)| {
        if sorted {
            all.sort_by_key(|(at, ..)| *at);
        }
        all
    })
}

fn doubtful() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::Inconclusive("few".into())),
        Just(Seen::Error("down".into())),
    ]
}

fn anything() -> impl Strategy<Value = Seen> {
    prop_oneof![doubtful(), Just(fail("bad"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_decides_as_a_model_without_a_state_does(
        policy in policies(),
        observed in observations(anything()),
        last in 0..90_000_u64,
    ) {
        let mut decider = decider(&policy);
        for (until, (at, check, seen)) in observed.iter().enumerate() {
            decider.observe(*at, check, seen.clone()).unwrap();
            // To decide changes nothing but the time, which is the one that was just given.
            let decision = decider.decision(*at);
            prop_assert_eq!(
                name(&decision), model::decision(&policy, &observed[..=until], *at), "{}", until
            );
        }
        let last = Duration::from_millis(last);
        let decision = decider.decision(last);
        prop_assert_eq!(name(&decision), model::decision(&policy, &observed, last));
        // The same again, and at a time that has passed.
        prop_assert_eq!(&decider.decision(last), &decision);
        prop_assert_eq!(&decider.decision(Duration::ZERO), &decision);
    }

    #[test]
    fn it_never_rolls_back_without_enough_failures(
        limit in limits(),
        rules in proptest::collection::vec(questions(), 0..3),
        observed in observations(anything()),
    ) {
        let mut policy = policy(rules);
        policy.rules.push(roll_back(limit.times, limit.of));
        let mut decider = decider(&policy);
        let mut failures = [0; CHECKS.len()];
        for (at, check, seen) in observed {
            let is_failure = matches!(seen, Seen::Fail(_));
            let place = CHECKS.iter().position(|one| *one == check).unwrap();
            failures[place] += u32::from(is_failure);
            decider.observe(at, check, seen).unwrap();
            if matches!(decider.decision(at), Decision::RollBack { .. }) {
                prop_assert!(failures.iter().any(|count| *count >= limit.times));
            }
        }
    }

    #[test]
    fn doubts_never_roll_back(
        policy in policies(), observed in observations(doubtful()), last in 0..90_000_u64,
    ) {
        let mut decider = decider(&policy);
        for (at, check, seen) in observed {
            decider.observe(at, check, seen).unwrap();
            let decision = decider.decision(at);
            prop_assert_ne!(name(&decision), "roll back");
        }
        let decision = decider.decision(Duration::from_millis(last));
        prop_assert_ne!(name(&decision), "roll back");
    }

    #[test]
    fn it_never_ends_well_with_a_silent_check(
        policy in policies(),
        observed in observations(anything()),
        silent in proptest::sample::select(&CHECKS[..]),
        last in 0..90_000_u64,
    ) {
        let mut decider = decider(&policy);
        for (at, check, seen) in observed {
            if check != silent || matches!(seen, Seen::Inconclusive(_) | Seen::Error(_)) {
                decider.observe(at, check, seen).unwrap();
            }
            prop_assert_ne!(decider.decision(at), Decision::Done);
        }
        prop_assert_ne!(decider.decision(Duration::from_millis(last)), Decision::Done);
    }

    #[test]
    fn a_rollback_stays(
        policy in policies(), observed in observations(anything()), after in observations(Just(Seen::Pass)),
    ) {
        let mut decider = decider(&policy);
        for (at, check, seen) in observed {
            decider.observe(at, check, seen).unwrap();
        }
        let decision = decider.decision(Duration::ZERO);
        prop_assume!(name(&decision) == "roll back");
        for (at, check, seen) in after {
            decider.observe(at, check, seen).unwrap();
            prop_assert_eq!(&decider.decision(at), &decision);
        }
    }

    #[test]
    fn a_policy_is_read_as_it_was_written(policy in policies()) {
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<WatchPolicy>(&json).unwrap(), policy);
    }
}

/// Every sequence of up to seven observations of one check, under limits of each size.
#[test]
fn all_short_sequences_are_decided_as_by_the_model() {
    let kinds = [
        Seen::Pass,
        fail("bad"),
        Seen::Inconclusive("few".into()),
        Seen::Error("down".into()),
    ];
    let others = ["b", "c"].map(|check| (Duration::ZERO, check, Seen::Pass));
    for (times, of) in [(1, 1), (2, 2), (2, 3), (3, 5)] {
        let limit = Limit::new(times, of);
        let policy = policy([
            roll_back(times, of),
            ask(Condition::Inconclusive(limit)),
            ask(Condition::Error(limit)),
        ]);
        for length in 0..=7 {
            for number in 0..4_usize.pow(length) {
                let mut observed = others.to_vec();
                for at in 0..length {
                    let kind = &kinds[number / 4_usize.pow(at) % 4];
                    observed.push((secs(u64::from(at)), "a", kind.clone()));
                }
                let mut decider = decider(&policy);
                for (at, check, seen) in &observed {
                    decider.observe(*at, check, seen.clone()).unwrap();
                }
                for at in [secs(7), secs(60)] {
                    let decision = decider.decision(at);
                    let expected = model::decision(&policy, &observed, at);
                    assert_eq!(name(&decision), expected, "{observed:?} at {at:?}");
                }
            }
        }
    }
}
