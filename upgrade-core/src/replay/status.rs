//! Judges how requests are answered, before what is in the answers.

use std::fmt;

use super::class;
use super::judge::Weight;
use crate::finding::Severity;
use crate::http::{Answer, Broken};
use crate::statistics::fisher;

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// With this status.
    Code(u16),
    /// With this status, and a body that is not what it is declared as.
    Unreadable(u16),
    /// Not completely, and how.
    Broken(&'static str, String),
}

impl Status {
    pub(super) fn of(answer: &Answer, unreadable: bool) -> Self {
        match answer {
            Answer::Complete(response) if unreadable => Self::Unreadable(response.status),
            Answer::Complete(response) => Self::Code(response.status),
            Answer::Broken(broken) => {
                let kind = match broken {
                    Broken::Slow(_) => "slow",
                    Broken::Large(_) => "large",
                    Broken::Cut(_) => "cut",
                };
                Self::Broken(kind, broken.to_string())
            }
        }
    }

    /// The status of a complete answer that can be read.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Code(code) => Some(*code),
            Self::Unreadable(_) | Self::Broken(..) => None,
        }
    }

    /// Whether the service is at fault.
    fn fails(&self) -> bool {
        self.code().is_none_or(|code| code >= 500)
    }

    /// Whether there is an answer of the kind that was asked for.
    fn works(&self) -> bool {
        self.code().is_some_and(|code| code < 400)
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Code(404 | 405 | 410 | 501))
    }

    /// Whether two answers are alike: how an incomplete one broke off is chance.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Broken(one, _), Self::Broken(other, _)) => one == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Unreadable(code) => write!(
                f,
                "{code} with a body that is not the JSON it is declared as"
            ),
            Self::Broken(_, how) => f.write_str(how),
        }
    }
}

/// How the three sides answered one request, in the order of [`Side`](crate::side::Side).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) request: usize,
    pub(super) at: usize,
    pub(super) sides: [Status; 3],
}

impl Sample {
    /// Whether the candidate differs from baseline and secondary.
    fn differs(&self) -> bool {
        let [baseline, secondary, candidate] = &self.sides;
        !candidate.is_like(baseline) && !candidate.is_like(secondary)
    }

    fn olds(&self) -> &[Status] {
        &self.sides[..2]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The candidate does not have the endpoint.
    Gone,
    /// The candidate is at fault.
    Fails,
    /// The status is another one.
    Differs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) change: Change,
    pub(super) weight: Weight,
}

/// Judges the statuses of one endpoint.
pub(super) fn judge(samples: &[Sample]) -> Option<Found> {
    let weigh = |differs: &dyn Fn(&Sample) -> bool| {
        let of: Vec<class::Sample<'_>> = samples
            .iter()
            .map(|sample| class::Sample {
                request: sample.request,
                at: sample.at,
                baseline: &[],
                secondary: &[],
                candidate: &[],
            })
            .collect();
        let at: Vec<usize> = samples
            .iter()
            .filter(|of| differs(of))
            .map(|of| of.at)
            .collect();
        Weight::of(&of, |sample| at.contains(&sample.at))
    };
    let works = |sample: &&Sample| sample.olds().iter().all(Status::works);
    let worked: Vec<&Sample> = samples.iter().filter(works).collect();
    let gone = |sample: &Sample| works(&sample) && sample.sides[2].is_refusal();
    if !worked.is_empty() && worked.iter().all(|sample| gone(sample)) {
        let mut weight = weigh(&gone)?;
        weight.request = None;
        return Some(Found {
            change: Change::Gone,
            weight,
        });
    }
    // A fault that the previous release never has is one, however rarely the candidate has it.
    let fails = |sample: &Sample| sample.sides[2].fails();
    let healthy = samples
        .iter()
        .all(|of| !of.olds().iter().any(Status::fails));
    if healthy && let Some(mut weight) = weigh(&fails) {
        weight.severity = Severity::Error;
        return Some(Found {
            change: Change::Fails,
            weight,
        });
    }
    let count = |differs: &dyn Fn(&Sample) -> bool| {
        u32::try_from(samples.iter().filter(|of| differs(of)).count()).unwrap_or(u32::MAX)
    };
    let noise = count(&|sample| !sample.sides[0].is_like(&sample.sides[1]));
    let mut weight = weigh(&Sample::differs)?;
    if noise > 0 {
        let all = count(&|_| true);
        if fisher((noise, all), (count(&Sample::differs), all)) >= super::judge::UNLIKELY {
            return None;
        }
        weight.severity = Severity::Error;
        weight.request = None;
    }
    let mended =
        |sample: &Sample| sample.olds().iter().all(Status::fails) && !sample.sides[2].fails();
    if samples.iter().filter(|of| of.differs()).all(mended) {
        weight.severity = Severity::Note;
    }
    let first = samples.iter().find(|of| of.at == weight.at);
    let change = match first.is_some_and(|of| of.sides[2].fails()) {
        true => Change::Fails,
        false => Change::Differs,
    };
    Some(Found { change, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(statuses: &[[u16; 3]]) -> Option<(Change, Severity)> {
        let samples: Vec<Sample> = statuses
            .iter()
            .enumerate()
            .map(|(at, codes)| Sample {
                request: at,
                at,
                sides: codes.map(Status::Code),
            })
            .collect();
        judge(&samples).map(|found| (found.change, found.weight.severity))
    }

    #[test]
    fn statuses_are_judged_by_what_they_mean() {
        use Change::{Differs, Fails, Gone};
        use Severity::{Error, Note};
        for (statuses, expected) in [
            (vec![[200, 200, 200], [404, 404, 404]], None),
            (vec![[200, 200, 404], [200, 200, 404]], Some((Gone, Error))),
            (vec![[200, 200, 404], [404, 404, 404]], Some((Gone, Error))),
            (
                vec![[200, 200, 404], [200, 200, 200]],
                Some((Differs, Error)),
            ),
            (vec![[200, 200, 500], [200, 200, 200]], Some((Fails, Error))),
            (vec![[401, 401, 200]], Some((Differs, Error))),
            (vec![[500, 500, 200]], Some((Differs, Note))),
            (vec![[500, 500, 500]], None),
            // An error that comes and goes.
            (vec![[200, 503, 200], [200, 200, 503]], None),
            (vec![[503, 503, 503], [200, 200, 503]], Some((Fails, Error))),
        ] {
            assert_eq!(judged(&statuses), expected, "{statuses:?}");
        }
    }

    #[test]
    fn how_a_connection_breaks_off_is_chance() {
        let cut = |how: &str| Status::of(&Answer::Broken(Broken::Cut(how.to_owned())), false);
        assert!(cut("a").is_like(&cut("b")) && cut("a") != cut("b"));
        let sample = Sample {
            request: 0,
            at: 0,
            sides: [cut("a"), cut("b"), cut("c")],
        };
        assert_eq!(judge(&[sample]), None);
    }
}
