//! From pairs of schemas to findings: each pair once, however many operations share it.

use std::collections::{BTreeMap, BTreeSet};

use similar::TextDiff;

use super::description::{Description, Operation};
use super::options::CompareOptions;
use super::pairs::Pairs;
use super::relation::{Difference, Direction, Relation};
use super::rules::{COMPATIBLE, named};
use super::schema::{SchemaId, Types};
use crate::finding::{Finding, Severity};

/// How many steps are made at most to learn which operations share a finding. Beyond it, a finding names the
/// first.
const SHARED: usize = 2_000_000;

/// Where a schema begins: an operation and a part of it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) operation: String,
    /// Such as `response 200 application/json`; empty for the operation itself.
    pub(super) part: String,
    /// Whether the place of a value in it begins with `$` even if it is all of it.
    pub(super) is_body: bool,
}

impl Place {
    pub(super) fn of(operation: &Operation) -> Self {
        Self {
            operation: operation.to_string(),
            part: String::new(),
            is_body: false,
        }
    }

    /// The description as a whole.
    pub(super) fn whole() -> Self {
        Self {
            operation: "the description".to_owned(),
            part: String::new(),
            is_body: false,
        }
    }

    pub(super) fn part(&self, part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            ..self.clone()
        }
    }

    pub(super) fn body(&self, part: impl Into<String>) -> Self {
        Self {
            is_body: true,
            ..self.part(part)
        }
    }

    fn subject(&self, path: &str) -> String {
        let mut subject = self.operation.clone();
        if !self.part.is_empty() {
            subject.push_str(&format!(" {}", self.part));
        }
        if self.is_body || !path.is_empty() {
            subject.push_str(&format!(" ${path}"));
        }
        subject
    }
}

/// A pair that is compared, where it was met first.
struct Walked {
    old: SchemaId,
    new: SchemaId,
    direction: Direction,
    unknown: Option<String>,
    place: usize,
    path: String,
    /// The pairs that it was met in.
    parents: Vec<usize>,
    /// The places that begin with it.
    places: Vec<usize>,
}

struct Found {
    place: usize,
    finding: Finding,
    pair: Option<usize>,
}

/// Collects findings.
pub(super) struct Walk<'d> {
    pairs: Pairs<'d>,
    places: Vec<Place>,
    walked: Vec<Walked>,
    index: BTreeMap<(SchemaId, SchemaId, Direction, bool), usize>,
    found: Vec<Found>,
    versions: String,
    /// Whether errors are warnings, because the major version grows.
    lenient: bool,
}

impl<'d> Walk<'d> {
    pub(super) fn new(
        old: &'d Description,
        new: &'d Description,
        options: &'d CompareOptions,
    ) -> Self {
        let major = |version: &str| {
            let digits = version
                .trim_start_matches('v')
                .split('.')
                .next()
                .unwrap_or_default();
            digits.parse::<u64>().ok()
        };
        let majors = (major(&old.version), major(&new.version));
        let grows = matches!(majors, (Some(old), Some(new)) if new > old);
        Self {
            pairs: Pairs::new(old, new, options),
            places: Vec::new(),
            walked: Vec::new(),
            index: BTreeMap::new(),
            found: Vec::new(),
            versions: match (old.version.as_str(), new.version.as_str()) {
                ("", "") => String::new(),
                (old, new) if old == new => format!(", version {old} of both"),
                (old, new) => format!(", version {old} -> {new}"),
            },
            lenient: options.breaking_in_major && grows,
        }
    }

    pub(super) fn options(&self) -> &'d CompareOptions {
        self.pairs.options
    }

    /// Whether a schema of the new description has a default.
    pub(super) fn has_default(&self, id: SchemaId) -> bool {
        self.pairs.new.schema(id).default.is_some()
    }

    /// Whether neither schema, of the old and of the new description, allows lists or objects.
    pub(super) fn are_single(&self, old: Option<SchemaId>, new: Option<SchemaId>) -> bool {
        let (Some(old), Some(new)) = (old, new) else {
            return false;
        };
        let (was, is) = self.pairs.both(old, new);
        let several = Types::ARRAY.or(Types::OBJECT);
        [was, is]
            .iter()
            .all(|schema| schema.types.and(several).names().is_empty())
    }

    /// Reports what a rule about the structure has found.
    pub(super) fn report(
        &mut self,
        rule: &'static str,
        severity: Severity,
        place: Place,
        text: String,
    ) {
        let (name, id) = named(rule, Direction::Request, Relation::Same);
        if id == COMPATIBLE && !self.pairs.options.compatible_changes {
            return;
        }
        let finding = self.finding(id, severity, place.subject(""), &name, &text);
        self.places.push(place);
        self.found.push(Found {
            place: self.places.len() - 1,
            finding,
            pair: None,
        });
    }

    /// Reports a change that breaks nobody by a rule that can also break somebody.
    pub(super) fn report_compatible(&mut self, rule: &'static str, place: Place, text: String) {
        if self.pairs.options.compatible_changes {
            let finding = self.finding(COMPATIBLE, Severity::Note, place.subject(""), rule, &text);
            self.places.push(place);
            self.found.push(Found {
                place: self.places.len() - 1,
                finding,
                pair: None,
            });
        }
    }

    fn finding(
        &self,
        id: &str,
        severity: Severity,
        subject: String,
        rule: &str,
        text: &str,
    ) -> Finding {
        let message = format!("{text} (rule {rule}{})", self.versions);
        match severity {
            Severity::Error if self.lenient => Finding::warning(id, subject, message),
            Severity::Error => Finding::error(id, subject, message),
            Severity::Warning => Finding::warning(id, subject, message),
            Severity::Note => Finding::note(id, subject, message),
        }
    }

    /// Compares the schemas of a place, later.
    pub(super) fn schemas(
        &mut self,
        old: Option<SchemaId>,
        new: Option<SchemaId>,
        direction: Direction,
        place: Place,
    ) {
        let rule = "description-of-body-removed";
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) => {
                self.places.push(place);
                let place = self.places.len() - 1;
                let at = self.meet((old, new), direction, None, place, String::new());
                self.walked[at].places.push(place);
            }
            (Some(_), None) => {
                let text = "it had a schema, and now can be anything".to_owned();
                match direction {
                    Direction::Request => self.report_compatible(rule, place, text),
                    Direction::Response => self.report(rule, Severity::Error, place, text),
                }
            }
            (None, Some(_)) => {
                let text = "it could be anything, and now has a schema".to_owned();
                match direction {
                    Direction::Request => self.report(rule, Severity::Error, place, text),
                    Direction::Response => self.report_compatible(rule, place, text),
                }
            }
        }
    }

    fn meet(
        &mut self,
        (old, new): (SchemaId, SchemaId),
        direction: Direction,
        unknown: Option<String>,
        place: usize,
        path: String,
    ) -> usize {
        let next = self.walked.len();
        let at = *self
            .index
            .entry((old, new, direction, unknown.is_some()))
            .or_insert(next);
        if at == next {
            self.walked.push(Walked {
                old,
                new,
                direction,
                unknown,
                place,
                path,
                parents: Vec::new(),
                places: Vec::new(),
            });
        }
        at
    }

    /// Compares all that was put off, and returns the findings.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let mut at = 0;
        while at < self.walked.len() {
            let walked = &self.walked[at];
            let (old, new, direction, place) =
                (walked.old, walked.new, walked.direction, walked.place);
            let local = self.pairs.local(old, new, direction);
            for difference in local.differences {
                self.difference(at, difference);
            }
            for child in local.children {
                let walked = &self.walked[at];
                let path = format!("{}{}", walked.path, child.step);
                let unknown = walked.unknown.clone().or(child.unknown);
                let inner = self.meet((child.old, child.new), direction, unknown, place, path);
                self.walked[inner].parents.push(at);
            }
            at += 1;
        }
        self.share();
        let mut found = self.found;
        found.sort_by_cached_key(|found| {
            let finding = &found.finding;
            let operation = self.places[found.place].operation.clone();
            (
                operation,
                finding.subject.as_str().to_owned(),
                finding.message.clone(),
            )
        });
        found.into_iter().map(|found| found.finding).collect()
    }

    fn difference(&mut self, at: usize, difference: Difference) {
        let walked = &self.walked[at];
        let (severity, is_compatible) = difference.severity(walked.direction);
        let (name, mut id) = named(difference.rule, walked.direction, difference.relation);
        let (mut severity, mut name, mut text) = (severity, name, difference.text.clone());
        if let Some(keyword) = &walked.unknown {
            if difference.relation == Relation::Same {
                return;
            }
            (name, id) = named("unknown-keyword-changed", walked.direction, Relation::Other);
            severity = Severity::Warning;
            text = format!("inside of `{keyword}`, which no rule can judge: {text}");
        } else if is_compatible {
            id = COMPATIBLE;
        }
        if id == COMPATIBLE && !self.pairs.options.compatible_changes {
            return;
        }
        let path = format!("{}{}", walked.path, difference.step);
        let subject = self.places[walked.place].subject(&path);
        let mut finding = self.finding(id, severity, subject, &name, &text);
        if let Some((old, new)) = &difference.fragments {
            let diff = TextDiff::from_lines(old, new);
            let diff = diff
                .unified_diff()
                .context_radius(3)
                .header("old", "new")
                .to_string();
            finding = finding.with_evidence(diff);
        }
        self.found.push(Found {
            place: walked.place,
            finding,
            pair: Some(at),
        });
    }

    /// Names the other operations that share a finding.
    fn share(&mut self) {
        let mut steps = 0;
        let mut shared: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for found in &mut self.found {
            let Some(pair) = found.pair else { continue };
            let pair = first_fork(&self.walked, pair);
            if !shared.contains_key(&pair) && steps < SHARED {
                shared.insert(
                    pair,
                    operations(&self.walked, &self.places, pair, &mut steps),
                );
            }
            let Some(operations) = shared.get(&pair) else {
                continue;
            };
            let own = self.places[found.place].operation.as_str();
            let mut others = operations.iter().filter(|one| **one != own);
            let (Some(first), second) = (others.next(), others.next()) else {
                continue;
            };
            let more = match (second, operations.len() - 1) {
                (None, _) => format!("; `{first}` has it, too"),
                (Some(second), 2) => format!("; `{first}` and `{second}` have it, too"),
                (Some(_), many) => format!("; `{first}` and {} others have it, too", many - 1),
            };
            found.finding.message.push_str(&more);
        }
    }
}

/// The pair from which upwards the ways to a pair part: those below have the same operations.
fn first_fork(walked: &[Walked], mut pair: usize) -> usize {
    // A pair is met first in one that was met before, so this ends.
    while let ([parent], []) = (&walked[pair].parents[..], &walked[pair].places[..])
        && *parent < pair
    {
        pair = *parent;
    }
    pair
}

/// The operations from which a pair is reached, sorted.
fn operations<'w>(
    walked: &[Walked],
    places: &'w [Place],
    pair: usize,
    steps: &mut usize,
) -> Vec<&'w str> {
    let mut seen = vec![false; walked.len()];
    seen[pair] = true;
    let mut open = vec![pair];
    let mut operations = BTreeSet::new();
    while let Some(at) = open.pop() {
        let walked = &walked[at];
        operations.extend(
            walked
                .places
                .iter()
                .map(|place| places[*place].operation.as_str()),
        );
        *steps += walked.parents.len() + walked.places.len() + 1;
        for parent in &walked.parents {
            if !std::mem::replace(&mut seen[*parent], true) {
                open.push(*parent);
            }
        }
    }
    operations.into_iter().collect()
}
