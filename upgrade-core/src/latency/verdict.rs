//! From what was measured to a verdict and the figures of a report.

use super::judge::{Decision, Figures};
use super::options::LatencyOptions;
use super::outcomes::{Errors, ErrorsSay};
use super::run::Class;
use super::times::measure;
use crate::context::UpgradeContext;
use crate::finding::Finding;
use crate::side::Side;
use crate::validator::Verdict;

/// Reports the figures of all classes.
pub(super) fn report(cx: &UpgradeContext, name: &str, errors: &Errors, classes: &[Class]) {
    for class in classes {
        let (name, times) = (&class.name, &class.times);
        times.report(cx, name);
        measure(cx, name, "throughput", "1/s", |side| times.throughput(side));
        let Some(figures) = class.judge.figures() else {
            continue;
        };
        measure(cx, name, "slowdown", "%", |side| match side {
            Side::Baseline => None,
            Side::Secondary => Some((figures.noise - 1.0) * 100.0),
            Side::Candidate => Some((figures.ratio - 1.0) * 100.0),
        });
        measure(cx, name, "least slowdown visible", "%", |side| match side {
            Side::Candidate => figures.visible.map(|visible| visible * 100.0),
            Side::Baseline | Side::Secondary => None,
        });
    }
    measure(cx, name, "errors", "answers", |side| {
        let count = errors.of_side.get(&side).copied();
        Some(f64::from(count.unwrap_or_default()))
    });
}

/// What follows from the errors and the times.
pub(super) fn verdict(
    cx: &UpgradeContext,
    name: &str,
    options: &LatencyOptions,
    errors: &Errors,
    classes: &[Class],
) -> Verdict {
    let mut findings = Vec::new();
    let mut reasons = Vec::new();
    match errors.judge(options.alpha / 2.0) {
        ErrorsSay::Nothing => {}
        ErrorsSay::Doubt(reason) => reasons.push(cx.redact(&reason)),
        ErrorsSay::Worse(message) => {
            findings.push(Finding::error("latency/errors", name, cx.redact(&message)));
        }
    }
    for class in classes {
        let (name, figures) = (&class.name, class.judge.figures());
        match (class.judge.decision(), figures) {
            (Decision::NotSlower, _) => {}
            (Decision::Slower, Some(figures)) => {
                let finding = Finding::error("latency/slower", name, slower(&figures));
                findings.push(finding.with_evidence(class.times.table()));
            }
            (decision, figures) => {
                let reason = open(decision, figures.as_ref(), options);
                reasons.push(format!("{name}: {reason}"));
            }
        }
    }
    let failed = errors.of_side.get(&Side::Baseline).copied();
    if let Some(failed @ 1..) = failed.filter(|_| !reasons.is_empty()) {
        let all = errors.requests;
        reasons.push(format!(
            "the baseline itself answered {failed} of {all} requests with errors"
        ));
    }
    match (findings.is_empty(), reasons.is_empty()) {
        (false, _) => Verdict::Fail(findings),
        (true, false) => Verdict::Inconclusive(reasons.join("; ")),
        (true, true) => Verdict::Pass,
    }
}

fn slower(figures: &Figures) -> String {
    format!("takes {}", described(figures))
}

/// Why nothing follows.
fn open(decision: Decision, figures: Option<&Figures>, options: &LatencyOptions) -> String {
    let Some(figures) = figures else {
        return "too few answers to judge".to_owned();
    };
    let seen = described(figures);
    match decision {
        Decision::TooFew => {
            let (blocks, time) = (options.min_blocks, options.min_time);
            format!(
                "too few answers to judge ({blocks} blocks of them over {time:?} are needed): it takes {seen}"
            )
        }
        Decision::TooNoisy => format!("the machine is too noisy to judge: it takes {seen}"),
        Decision::Open | Decision::Slower | Decision::NotSlower => format!(
            "neither a slowdown of more than {} nor one of less than {} could be shown: it takes {seen}",
            percent(options.fail_above),
            percent(options.pass_below),
        ),
    }
}

/// The figures, to follow "it takes".
fn described(figures: &Figures) -> String {
    let between = |interval: Option<(f64, f64)>| {
        interval.map_or_else(String::new, |(low, high)| {
            format!(" ({low:.3} to {high:.3})")
        })
    };
    let visible = match figures.visible {
        Some(visible) => format!(
            "the least slowdown that would have been seen is {}",
            percent(visible)
        ),
        None => "no slowdown would have been seen".to_owned(),
    };
    let Figures {
        ratio,
        noise,
        pairs,
        ..
    } = figures;
    format!(
        "{ratio:.3} times{} as long as the baseline, over {pairs} pairs of answers in {:.1} s; the baseline once more takes {noise:.3} times{} as long; {visible}",
        between(figures.interval),
        figures.time.as_secs_f64(),
        between(figures.noise_interval),
    )
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn texts_name_what_was_seen_and_what_would_have_been() {
        let figures = Figures {
            pairs: 4000,
            time: Duration::from_millis(9400),
            ratio: 1.17,
            interval: Some((1.1212, 1.2)),
            noise: 1.004,
            noise_interval: None,
            visible: Some(0.054),
        };
        assert_eq!(
            slower(&figures),
            "takes 1.170 times (1.121 to 1.200) as long as the baseline, over 4000 pairs of answers in 9.4 s; \
             the baseline once more takes 1.004 times as long; \
             the least slowdown that would have been seen is 5.4 %"
        );
        let options = LatencyOptions::default();
        let blind = Figures {
            visible: None,
            ..figures
        };
        for (decision, figures, begin, end) in [
            (Decision::TooFew, None, "too few answers", "to judge"),
            (
                Decision::TooFew,
                Some(&blind),
                "too few answers to judge (40 blocks",
                "no slowdown would have been seen",
            ),
            (
                Decision::TooNoisy,
                Some(&figures),
                "the machine is too noisy",
                "5.4 %",
            ),
            (
                Decision::Open,
                Some(&figures),
                "neither a slowdown of more than 3.0 % nor one of less than 8.0 %",
                "5.4 %",
            ),
        ] {
            let text = open(decision, figures, &options);
            assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
        }
    }
}
