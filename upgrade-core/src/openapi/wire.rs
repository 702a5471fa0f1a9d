//! Real traffic judged by the descriptions of both releases.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::{About, Contract, Violation};
use super::description::shape;
use crate::finding::{Finding, Severity};
use crate::http::Exchange;

/// What violations count as one: the operation, whatever its parameters are called, the place, the rule.
type Key = (String, String, String);

fn key(violation: &Violation) -> Key {
    (
        shape(&violation.operation),
        violation.place.clone(),
        violation.rule.clone(),
    )
}

/// The violations of one kind.
#[derive(Default)]
struct Tally<'e> {
    found: BTreeMap<Key, Counted<'e>>,
    /// How many exchanges each operation has.
    exchanges: BTreeMap<String, usize>,
}

struct Counted<'e> {
    first: Violation,
    exchange: &'e Exchange,
    times: usize,
}

impl<'e> Tally<'e> {
    fn exchange(&mut self, operation: &str) {
        *self.exchanges.entry(shape(operation)).or_default() += 1;
    }

    fn add(&mut self, exchange: &'e Exchange, violations: impl IntoIterator<Item = Violation>) {
        let mut seen = BTreeSet::new();
        for violation in violations {
            let key = key(&violation);
            // A list can break a rule in many of its items; that is one answer.
            if !seen.insert(key.clone()) {
                continue;
            }
            let counted = self.found.entry(key).or_insert_with(|| Counted {
                first: violation,
                exchange,
                times: 0,
            });
            counted.times += 1;
        }
    }

    fn has(&self, violation: &Violation) -> bool {
        self.found.contains_key(&key(violation))
    }

    fn findings(
        self,
        id: &'static str,
        severity: Severity,
        what: &str,
        server: &str,
    ) -> Vec<Finding> {
        let exchanges = self.exchanges;
        let finding = |(key, counted): (Key, Counted<'_>)| {
            let Violation {
                operation,
                place,
                rule,
                message,
                ..
            } = &counted.first;
            let all = exchanges.get(&key.0).copied().unwrap_or(counted.times);
            let subject = format!("{operation} {place}");
            let message = format!(
                "{message}, in {} of {all} {what} (rule {rule})",
                counted.times
            );
            let finding = match severity {
                Severity::Error => Finding::error(id, subject, message),
                Severity::Warning => Finding::warning(id, subject, message),
                Severity::Note => Finding::note(id, subject, message),
            };
            finding.with_evidence(evidence(counted.exchange, server))
        };
        self.found.into_iter().map(finding).collect()
    }
}

fn evidence(exchange: &Exchange, server: &str) -> String {
    format!("{}\n{}", exchange.request.to_curl(server), exchange.answer)
}

/// A server for the lines that send a request again.
fn server(contract: &Contract) -> &str {
    let servers = &contract.description().servers;
    let absolute = servers.iter().find(|server| server.contains("://"));
    absolute.map_or("http://localhost", String::as_str)
}

/// Judges the traffic of two releases by the descriptions of both. `old_exchanges` are requests of clients
/// of the old release with its answers; `new_exchanges` have the answers of the new release, best to the same
/// requests.
///
/// - An answer of the new release that its own description does not allow: the description lies, and what
///   [`compare`](super::compare) says of it is worth little.
/// - An answer of the new release that the description of the old one does not allow: what a deployed client
///   sees. Requests that only the new description has are left out.
/// - A request of a client of the old release that the new description does not allow.
/// - An answer of the old release that its own description does not allow is a note. What the old release
///   did wrong at a place is not reported again for the new one.
///
/// Each rule that is broken at a place of an operation is one finding, with the number of its answers, and
/// with the first of them as a line for a shell. A request that nobody describes is a note.
pub fn judge_wire(
    old: &Contract,
    new: &Contract,
    old_exchanges: &[Exchange],
    new_exchanges: &[Exchange],
) -> Vec<Finding> {
    let mut baseline = Tally::default();
    let mut old_requests = Tally::default();
    let mut lies = Tally::default();
    let mut clients = Tally::default();
    let mut refused = Tally::default();
    let mut apart = Tally::default();
    let mut rests = Vec::new();
    for exchange in old_exchanges {
        let operation = old.name_of(&exchange.request);
        baseline.exchange(&operation);
        let (answers, requests, rest) = sorted(old.check(exchange));
        baseline.add(exchange, answers);
        old_requests.add(exchange, requests);
        rests.push(rest);
    }
    for (exchange, mut rest) in old_exchanges.iter().zip(rests) {
        let request = &exchange.request;
        refused.exchange(&new.name_of(request));
        apart.exchange(&old.name_of(request));
        let (_, requests, more) = sorted(new.check(exchange));
        let is_new = |violation: &Violation| !old_requests.has(violation);
        refused.add(exchange, requests.into_iter().filter(is_new));
        // A request that the old description has and the new one does not.
        let is_removed = |one: &Violation| {
            one.about == About::NotDescribed && old.operation_of(request).is_some()
        };
        let (removed, more): (Vec<_>, Vec<_>) = more.into_iter().partition(is_removed);
        refused.add(exchange, removed);
        rest.extend(more);
        apart.add(exchange, rest);
    }
    for exchange in new_exchanges {
        let request = &exchange.request;
        lies.exchange(&new.name_of(request));
        let (answers, _, mut rest) = sorted(new.check(exchange));
        lies.add(
            exchange,
            answers.into_iter().filter(|one| !baseline.has(one)),
        );
        if old.operation_of(request).is_some() {
            clients.exchange(&old.name_of(request));
            let (answers, ..) = sorted(old.check(exchange));
            clients.add(
                exchange,
                answers.into_iter().filter(|one| !baseline.has(one)),
            );
            // That only the old description has it is said of the requests.
            rest.retain(|one| one.about != About::NotDescribed);
        }
        apart.exchange(&new.name_of(request));
        apart.add(exchange, rest);
    }
    let (of_old, of_new) = (server(old), server(new));
    let mut findings = lies.findings(
        "api/answer-breaks-description",
        Severity::Error,
        "answers",
        of_new,
    );
    findings.extend(clients.findings(
        "api/answer-breaks-old-clients",
        Severity::Error,
        "answers",
        of_new,
    ));
    findings.extend(refused.findings(
        "api/request-refused-by-description",
        Severity::Error,
        "requests",
        of_new,
    ));
    findings.extend(baseline.findings(
        "api/baseline-breaks-description",
        Severity::Note,
        "answers",
        of_old,
    ));
    findings.extend(apart.findings("api/not-described", Severity::Note, "requests", of_old));
    findings
}

/// Violations of answers, of requests, and what could not be checked.
fn sorted(violations: Vec<Violation>) -> (Vec<Violation>, Vec<Violation>, Vec<Violation>) {
    let (answers, rest) = violations
        .into_iter()
        .partition(|one| one.about == About::Response);
    let rest: Vec<Violation> = rest;
    let (requests, rest) = rest
        .into_iter()
        .partition(|one| one.about == About::Request);
    (answers, requests, rest)
}
