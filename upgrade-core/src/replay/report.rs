//! From exchanges to findings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Options;
use super::class::equal;
use super::ids::Names;
use super::judge::{Answers, Difference, Kind, Weight, differences};
use super::mask::{Mask, is_secret};
use super::places::{Place, Places, places};
use super::shape::type_of;
use super::status::{self, Status};
use super::template::endpoint;
use crate::finding::{Finding, Severity};
use crate::http::{Exchange, Response};
use crate::redact::GONE;

/// How much of a value stands in a finding, in characters.
const SHOWN: usize = 120;
/// How many values of a place stand in a finding.
const LISTED: usize = 5;

/// Judges the answers of the candidate by those of the previous release, which was run twice.
///
/// The three lists have the same requests in the same order, as each side got them; what one list has more is
/// not judged. Requests that only read and stand directly after an equal one are its repeats.
///
/// The findings are sorted by subject. Those that are errors still have to be confirmed: judge a second
/// replay on fresh copies, and keep those whose id and subject are found again.
pub fn judge(
    baseline: &[Exchange],
    secondary: &[Exchange],
    candidate: &[Exchange],
    options: &Options,
) -> Vec<Finding> {
    let replay = Replayed::new([baseline, secondary, candidate], options);
    let mut endpoints: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, exchange) in baseline.iter().enumerate().take(replay.sides.len()) {
        let endpoint = endpoint(&exchange.request, &options.templates);
        endpoints.entry(endpoint).or_default().push(at);
    }
    let mut findings = Vec::new();
    for (endpoint, all) in &endpoints {
        let statuses: Vec<_> = all.iter().map(|at| replay.statuses(*at)).collect();
        if let Some(found) = status::judge(&statuses) {
            findings.push(replay.of_status(endpoint, found));
        }
        for answers in replay.by_status(all) {
            for difference in differences(&answers) {
                findings.push(replay.of_place(endpoint, &difference));
            }
        }
    }
    findings.sort_by(|one, other| one.subject.as_str().cmp(other.subject.as_str()));
    findings
}

/// What an answer shows.
struct Seen {
    status: Status,
    /// `None` where there is no complete answer.
    places: Option<Places>,
}

struct Replayed<'r> {
    exchanges: [&'r [Exchange]; 3],
    sides: Vec<[Seen; 3]>,
    /// Of each exchange the number of its request.
    requests: Vec<usize>,
    mask: Mask,
    options: &'r Options,
}

impl<'r> Replayed<'r> {
    fn new(exchanges: [&'r [Exchange]; 3], options: &'r Options) -> Self {
        let length = exchanges.iter().map(|side| side.len()).min().unwrap_or(0);
        let mut names = [Names::default(), Names::default()];
        let mut requests: Vec<usize> = Vec::new();
        let mut sides = Vec::new();
        for at in 0..length {
            let [baseline, secondary, candidate] = exchanges.map(|side| &side[at]);
            let request = &baseline.request;
            requests.push(match requests.last() {
                Some(last) if request.is_safe() && exchanges[0][at - 1].request == *request => {
                    *last
                }
                Some(last) => last + 1,
                None => 0,
            });
            let endpoint = endpoint(request, &options.templates);
            let seen = |exchange: &Exchange, response: Option<&Response>| {
                let mut places = response.map(|response| places(response, options));
                if let Some(Some(places)) = &mut places {
                    places.retain(|place, _| !options.ignores(&endpoint, place));
                }
                Seen {
                    status: Status::of(&exchange.answer, places == Some(None)),
                    places: places.flatten(),
                }
            };
            let own = |names: &mut Names, exchange: &Exchange| {
                let response = exchange.answer.complete().map(|response| {
                    if let Some(reference) = baseline.answer.complete() {
                        names.learn_created(request, reference, response);
                    }
                    names.rewrite_response(request, response)
                });
                seen(exchange, response.as_ref())
            };
            let [of_secondary, of_candidate] = &mut names;
            sides.push([
                seen(baseline, baseline.answer.complete()),
                own(of_secondary, secondary),
                own(of_candidate, candidate),
            ]);
        }
        Self {
            exchanges,
            sides,
            requests,
            mask: Mask::of(exchanges.into_iter().flatten()),
            options,
        }
    }

    fn statuses(&self, at: usize) -> status::Sample {
        status::Sample {
            request: self.requests[at],
            at,
            sides: self.sides[at].each_ref().map(|seen| seen.status.clone()),
        }
    }

    /// Complete answers that have one status on all sides, those of each status together.
    fn by_status(&self, all: &[usize]) -> Vec<Vec<Answers<'_>>> {
        let mut groups: BTreeMap<u16, Vec<Answers<'_>>> = BTreeMap::new();
        for at in all.iter().copied() {
            let [baseline, secondary, candidate] = &self.sides[at];
            let complete = (&baseline.places, &secondary.places, &candidate.places);
            let (Some(of_baseline), Some(of_secondary), Some(of_candidate)) = complete else {
                continue;
            };
            if baseline.status != secondary.status || baseline.status != candidate.status {
                continue;
            }
            if let Some(code) = baseline.status.code() {
                groups.entry(code).or_default().push(Answers {
                    request: self.requests[at],
                    at,
                    baseline: of_baseline,
                    secondary: of_secondary,
                    candidate: of_candidate,
                });
            }
        }
        groups.into_values().collect()
    }

    fn of_status(&self, endpoint: &str, found: status::Found) -> Finding {
        let at = found.weight.at;
        let [old, again, new] = self.sides[at]
            .each_ref()
            .map(|seen| seen.status.to_string());
        let often = often(&found.weight);
        let (id, message) = match found.change {
            status::Change::Gone => (
                "api/endpoint-gone",
                format!("it answered {old}, and the candidate answers {new} {often}"),
            ),
            status::Change::Fails => (
                "api/endpoint-fails",
                format!("it answered {old}, and the candidate fails {often}: {new}"),
            ),
            status::Change::Differs => (
                "api/answer-differs",
                format!("the status was {old} and is {new} {often}"),
            ),
        };
        let numbered = found.change != status::Change::Fails;
        let subject = self.subject(endpoint, "status", &found.weight, numbered);
        let mut lines = vec![
            line("baseline", &old),
            line("secondary", &again),
            line("candidate", &new),
        ];
        if let Some(response) = self.exchanges[2][at].answer.complete() {
            let body = cut(&response.text());
            lines.push(line("its body", &body));
        }
        self.finding(id, found.weight, subject, message, lines)
    }

    fn of_place(&self, endpoint: &str, found: &Difference) -> Finding {
        let Difference {
            place,
            kind,
            weight,
        } = found;
        let id = match kind {
            Kind::Type => "api/answer-type-changed",
            Kind::Missing => "api/answer-lacks",
            Kind::New => "api/answer-new",
            Kind::Value | Kind::Order | Kind::Size | Kind::Shape | Kind::Frequency => {
                "api/answer-differs"
            }
        };
        let of_kind = match kind {
            Kind::Order => " (order)",
            Kind::Size => " (size)",
            Kind::Shape => " (shape)",
            Kind::Frequency => " (frequency)",
            _ => "",
        };
        let subject = self.subject(endpoint, &format!("{place}{of_kind}"), weight, true);
        let sides = self.sides[weight.at].each_ref();
        let values = sides.map(|seen| {
            let places = seen.places.as_ref();
            places
                .and_then(|all| all.get(place.as_str()))
                .map_or(&[][..], Vec::as_slice)
        });
        let secret = is_secret(Place::key_of(place));
        let message = message(*kind, values, weight, secret);
        let names = ["baseline", "secondary", "candidate"];
        let lines = names.into_iter().zip(values);
        let lines = lines.map(|(name, values)| line(name, &listed(values, secret)));
        self.finding(id, weight.clone(), subject, message, lines.collect())
    }

    fn subject(&self, endpoint: &str, place: &str, weight: &Weight, numbered: bool) -> String {
        match weight.request {
            // A place of several requests is named without them, as is a doubt.
            Some(request) if numbered && weight.severity == Severity::Error => {
                format!("{endpoint}: {place} (request {})", request + 1)
            }
            _ => format!("{endpoint}: {place}"),
        }
    }

    fn finding(
        &self,
        id: &str,
        weight: Weight,
        subject: String,
        message: String,
        mut evidence: Vec<String>,
    ) -> Finding {
        let request = &self.exchanges[2][weight.at].request;
        evidence.push(self.mask.request(request).to_curl(&self.options.server));
        let evidence = self.mask.text(&evidence.join("\n"));
        let mut finding = Finding::error(id, self.mask.text(&subject), self.mask.text(&message))
            .with_evidence(evidence);
        finding.severity = weight.severity;
        finding
    }
}

fn line(name: &str, text: &str) -> String {
    format!("{name:<10} {text}")
}

/// In which of the answers: reads after a sentence.
fn often(weight: &Weight) -> String {
    match (weight.differing, weight.of) {
        (1, 1) => "in the only answer".to_owned(),
        (differing, of) => format!("in {differing} of {of} answers"),
    }
}

fn message(kind: Kind, values: [&[Value]; 3], weight: &Weight, secret: bool) -> String {
    let [old, _, new] = values;
    let often = often(weight);
    let all = |values: &[Value]| listed(values, secret);
    // Of two lists of one length the first value that differs.
    let differing = || {
        let pairs = old.iter().zip(new).filter(|_| old.len() == new.len());
        let mut pairs = pairs.filter(|(one, other)| {
            !equal(std::slice::from_ref(*one), std::slice::from_ref(*other))
        });
        pairs.next()
    };
    match (kind, differing()) {
        (Kind::Type, pair) => {
            let types = |values: &[Value]| {
                let mut types: Vec<&str> = values.iter().map(type_of).collect();
                types.sort_unstable();
                types.dedup();
                types.join(" or ")
            };
            match pair {
                Some((one, other)) => {
                    format!("it was {} and is {} {often}", type_of(one), type_of(other))
                }
                None => format!("it was {} and is {} {often}", types(old), types(new)),
            }
        }
        (Kind::Missing, _) => format!("it is missing {often}; it was {}", all(old)),
        (Kind::New, _) => format!("only the candidate has it {often}: {}", all(new)),
        (Kind::Size, _) => {
            format!(
                "there were {} elements and are {} {often}",
                old.len(),
                new.len()
            )
        }
        (Kind::Order, _) => {
            format!(
                "the values are in another order {often}: {} became {}",
                all(old),
                all(new)
            )
        }
        (Kind::Shape, _) => {
            format!(
                "values such as {} became values such as {} {often}",
                all(old),
                all(new)
            )
        }
        (Kind::Frequency, _) => format!(
            "it differs from both runs of the previous release {often}, far more often than those from each other"
        ),
        (Kind::Value, Some((one, other))) => {
            let [one, other] = [one, other].map(|value| all(std::slice::from_ref(value)));
            format!("it was {one} and is {other} {often}")
        }
        (Kind::Value, None) => format!("it was {} and is {} {often}", all(old), all(new)),
    }
}

/// Values as a line.
fn listed(values: &[Value], secret: bool) -> String {
    let one = |value: &Value| match secret && !value.is_null() {
        true => GONE.to_owned(),
        false => cut(&value.to_string()),
    };
    let mut texts: Vec<String> = values.iter().take(LISTED).map(one).collect();
    if values.len() > LISTED {
        texts.push(format!("{} more", values.len() - LISTED));
    }
    match texts.is_empty() {
        true => "nothing".to_owned(),
        false => texts.join(", "),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
