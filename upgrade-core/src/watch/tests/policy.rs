//! Which policies there are, and which are refused.

use super::*;

#[test]
fn two_releases_choose_a_default() {
    let (patch, minor, major) = (
        WatchPolicy::patch(),
        WatchPolicy::minor(),
        WatchPolicy::major(),
    );
    for (from, to, expected) in [
        ("1.8.0", "1.8.1", &patch),
        ("1.8.1", "1.8.0", &patch),
        ("1.8.0", "1.8.0+build.7", &patch),
        ("v1.8.0", "1.9.2", &minor),
        ("1.8.0", "2.0.0", &major),
        ("0.3.1", "0.3.2", &minor),
        ("0.3.1", "0.4.0", &major),
        ("0.3.1", "0.3.1", &patch),
        ("0.9.0", "1.0.0", &major),
        ("1.8.0", "1.8.1-rc.1", &major),
        ("1.8.0-rc.1", "1.8.0", &major),
        ("1.8", "1.9", &major),
        ("previous", "next", &major),
        ("", "", &major),
        ("1.8.0", "01.8.0", &major),
        ("1.8.0", "1.99999999999999999999999.0", &major),
    ] {
        assert_eq!(&WatchPolicy::between(from, to), expected, "{from} to {to}");
    }
}

#[test]
fn the_defaults_are_valid() {
    for policy in [
        WatchPolicy::patch(),
        WatchPolicy::minor(),
        WatchPolicy::major(),
    ] {
        policy.validate(&CHECKS).unwrap();
    }
}

#[test]
fn nonsense_is_refused_with_what_is_wrong() {
    type Change = fn(&mut WatchPolicy);
    let cases: [(Change, &str); 13] = [
        (|p| p.every_ms = 0, "is 0 ms"),
        (|p| p.for_ms = 999, "ends before a check is evaluated"),
        (|p| p.min_samples = 0, "`min_samples` is 0"),
        (
            |p| p.min_samples = 61,
            "61 samples of each check are needed, and 60000 ms with one every 1000 ms are 60",
        ),
        (
            |p| p.rules[0] = roll_back(0, 5),
            "`0 of the last 5 times` is always reached",
        ),
        (
            |p| p.rules[0] = roll_back(6, 5),
            "`6 of the last 5 times` is never reached",
        ),
        (
            |p| p.rules[0] = roll_back(5, 61),
            "`5 of the last 61 times` is about more evaluations",
        ),
        (
            |p| p.rules.push(ask(Condition::Error(Limit::new(2, 1)))),
            "is never reached",
        ),
        (
            |p| p.rules.push(ask(Condition::Silent { for_ms: 1000 })),
            "is always silent for 1000 ms",
        ),
        (
            |p| p.rules.push(ask(Condition::Silent { for_ms: 60_000 })),
            "no check is silent for 60000 ms",
        ),
        (
            |p| p.rules.clear(),
            "no rule says what follows when `a` fails",
        ),
        (
            |p| p.rules = vec![ask(Condition::Inconclusive(Limit::new(1, 1)))],
            "no rule says what follows when `a` fails",
        ),
        (
            |p| {
                p.rules.push(Rule::RollBack {
                    checks: Checks::named(["a", "x"]),
                    failed: Limit::new(1, 1),
                });
            },
            "a rule is about `x`, and no check has this name (the checks are: a, b, c)",
        ),
    ];
    for (change, problem) in cases {
        let mut policy = policy([roll_back(3, 5)]);
        change(&mut policy);
        let error = policy.validate(&CHECKS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
        assert!(Decider::new(policy, CHECKS).is_err());
    }
    let mut policy = policy([roll_back(3, 5)]);
    let none: [&str; 0] = [];
    assert!(policy.validate(&none).is_err());
    let error = policy.validate(&["a", "b", "a"]).unwrap_err();
    assert!(
        error.to_string().contains("two checks have the name `a`"),
        "{error}"
    );
    policy.rules.push(Rule::RollBack {
        checks: Checks::named(none),
        failed: Limit::new(1, 1),
    });
    let error = policy.validate(&CHECKS).unwrap_err();
    assert!(
        error.to_string().contains("a rule is about no check"),
        "{error}"
    );
}

#[test]
fn a_rule_that_is_not_known_is_refused() {
    let json = serde_json::to_value(WatchPolicy::patch()).unwrap();
    assert!(serde_json::from_value::<WatchPolicy>(json.clone()).is_ok());
    // Inconclusive is no reason to roll back: there is no such rule.
    for rules in [
        r#"[{"roll_back":{"checks":"all","inconclusive":{"times":1,"of":1}}}]"#,
        r#"[{"roll_back":{"checks":"all","on":{"error":{"times":1,"of":1}}}}]"#,
        r#"[{"roll_back":{"checks":"all","failed":{"times":1,"of":1},"error":{"times":1,"of":1}}}]"#,
        r#"[{"forget":{"checks":"all"}}]"#,
    ] {
        let mut json = json.clone();
        json["rules"] = serde_json::from_str(rules).unwrap();
        assert!(
            serde_json::from_value::<WatchPolicy>(json).is_err(),
            "{rules}"
        );
    }
    let mut json = json;
    json["for_minutes"] = 3.into();
    assert!(serde_json::from_value::<WatchPolicy>(json).is_err());
}
