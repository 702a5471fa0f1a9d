//! The same decision from the whole list of what was seen, without a state.

use super::*;

fn is_about(rule: &Rule, check: &str) -> bool {
    let (Rule::RollBack { checks, .. } | Rule::Ask { checks, .. }) = rule;
    match checks {
        Checks::All => true,
        Checks::Named(names) => names.contains(&check.to_owned()),
    }
}

fn is_judged(seen: &Seen) -> bool {
    matches!(seen, Seen::Pass | Seen::Fail(_))
}

/// How often something is among the last ones.
fn count(seen: &[&Seen], limit: Limit, is: fn(&Seen) -> bool) -> bool {
    let from = seen.len().saturating_sub(limit.of as usize);
    let times = seen[from..].iter().filter(|one| is(one)).count();
    times >= limit.times as usize
}

fn failed_too_often(of_check: &[&Seen], limit: Limit) -> bool {
    let judged: Vec<&Seen> = of_check
        .iter()
        .copied()
        .filter(|one| is_judged(one))
        .collect();
    count(&judged, limit, |seen| matches!(seen, Seen::Fail(_)))
}

fn of<'o>(observed: &'o [Observed], check: &str) -> Vec<&'o Seen> {
    let all = observed.iter().filter(|(_, name, _)| *name == check);
    all.map(|(_, _, seen)| seen).collect()
}

pub(super) fn rolls_back(policy: &WatchPolicy, observed: &[Observed]) -> bool {
    (0..=observed.len()).any(|until| {
        policy.rules.iter().any(|rule| {
            let Rule::RollBack { failed, .. } = rule else {
                return false;
            };
            CHECKS.iter().any(|check| {
                is_about(rule, check) && failed_too_often(&of(&observed[..until], check), *failed)
            })
        })
    })
}

/// The name of the decision.
pub(super) fn decision(policy: &WatchPolicy, observed: &[Observed], at: Duration) -> &'static str {
    if rolls_back(policy, observed) {
        return "roll back";
    }
    // Time never runs backwards.
    let mut now = Duration::ZERO;
    let times: Vec<Duration> = observed
        .iter()
        .map(|(at, ..)| {
            now = now.max(*at);
            now
        })
        .collect();
    let now = now.max(at);
    let asks = policy.rules.iter().any(|rule| {
        let Rule::Ask { on, .. } = rule else {
            return false;
        };
        CHECKS
            .iter()
            .filter(|check| is_about(rule, check))
            .any(|check| {
                let seen = of(observed, check);
                match *on {
                    Condition::Failed(limit) => failed_too_often(&seen, limit),
                    Condition::Inconclusive(limit) => {
                        count(&seen, limit, |seen| matches!(seen, Seen::Inconclusive(_)))
                    }
                    Condition::Error(limit) => {
                        count(&seen, limit, |seen| matches!(seen, Seen::Error(_)))
                    }
                    Condition::Silent { for_ms } => {
                        let last = (0..observed.len())
                            .rev()
                            .find(|at| observed[*at].1 == *check);
                        let last = last.map_or(Duration::ZERO, |at| times[at]);
                        now - last >= Duration::from_millis(for_ms)
                    }
                }
            })
    });
    if asks {
        return "ask";
    }
    if now < Duration::from_millis(policy.for_ms) {
        return "go on";
    }
    let ends_well = CHECKS.iter().all(|check| {
        let judged: Vec<&Seen> = of(observed, check)
            .into_iter()
            .filter(|s| is_judged(s))
            .collect();
        judged.len() >= policy.min_samples as usize && judged.last() == Some(&&Seen::Pass)
    });
    if ends_well { "done" } else { "ask" }
}
