//! Findings that say the same, as one: a run tries the same migrations in many attempts.

use std::collections::BTreeSet;

use super::{FoundIn, Report};
use crate::finding::Severity;
use crate::plan::StepId;

/// Findings with one id, subject and message.
pub(super) struct Group<'a> {
    /// The first of them.
    pub(super) first: &'a FoundIn,
    /// Every step that raised one, in order.
    pub(super) steps: BTreeSet<StepId>,
    /// In how many attempts those are.
    pub(super) attempts: usize,
}

/// The findings of a severity that are not known, those that say the same as one, in the order in which each was
/// first seen. Findings that blame different migrations do not say the same.
pub(super) fn groups(report: &Report, severity: Severity) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let unknown = |found: &&FoundIn| found.finding.known.is_none();
    for found in report.findings_of(severity).filter(unknown) {
        match groups.iter_mut().find(|group| same(group.first, found)) {
            Some(group) => {
                group.steps.insert(found.step);
                // The one that names a migration says more.
                if group.first.finding.blames.is_none() {
                    group.first = found;
                }
            }
            None => groups.push(Group {
                first: found,
                steps: BTreeSet::from([found.step]),
                attempts: 0,
            }),
        }
    }
    for group in &mut groups {
        let raised = report
            .steps
            .iter()
            .filter(|step| group.steps.contains(&step.id));
        let attempts: BTreeSet<u32> = raised.map(|step| step.attempt).collect();
        group.attempts = attempts.len();
    }
    groups
}

fn same(one: &FoundIn, other: &FoundIn) -> bool {
    let (one, other) = (&one.finding, &other.finding);
    let blame_agrees = match (&one.blames, &other.blames) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    blame_agrees
        && one.id == other.id
        && one.subject == other.subject
        && one.message == other.message
}
