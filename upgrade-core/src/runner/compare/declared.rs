//! What the judgement of differences needs to know of the system: the grounds on which they are
//! excused, and in which columns a table differs.

use std::collections::BTreeSet;

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::{Error, Result};
use crate::expected::{ExpectedChange, MadeBy};
use crate::finding::Finding;
use crate::observation::{Columns, Reading, RowDiffRequest, Scope};
use crate::plan::{Action, BASELINE, Equal, Plan, Step, past};
use crate::runner::compare::rows::{self};
use crate::runner::judge::{Counts, Difference, Facts, Ground, judge};
use crate::runner::state::Run;
use crate::subject::{Object, TableRef};

/// The changes that are declared for one direction.
pub(in crate::runner) fn declared<'r>(
    run: &Run<'r>,
    direction: MadeBy,
) -> impl Iterator<Item = Ground<'r>> {
    let all = run.upgrade.expected_changes().iter().enumerate();
    all.filter(move |(_, change)| change.is_made_by(direction))
        .map(|(place, change)| Ground::Declared(place, change))
}

/// Judges differences from the state `with`, and notes which declarations did happen.
pub(in crate::runner) async fn judge_differences(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    mut differences: Vec<Difference>,
    grounds: &[Ground<'_>],
) -> Result<Vec<Finding>> {
    for facts in differences.iter_mut().filter_map(|it| it.facts.as_mut()) {
        if facts.column.is_some() {
            continue;
        }
        let named = columns_named(facts, grounds);
        let known = !facts.only_in.is_empty() || !facts.also_in.is_empty();
        if !known && !named.is_empty() {
            facts.only_in = differs_in(run, cx, with, facts, named).await?;
        }
        let needs_counts = |ground: &Ground<'_>| match ground {
            Ground::Changed(table, _) => facts.concern(table),
            Ground::Meanwhile => true,
            _ => false,
        };
        if facts.counts.is_none() && grounds.iter().any(needs_counts) {
            facts.counts = counts(run, cx, with, facts).await?;
        }
    }
    let judged = judge(differences, grounds);
    run.happened.extend(judged.used);
    Ok(judged.findings)
}

/// The columns of a table that any ground names.
fn columns_named(facts: &Facts, grounds: &[Ground<'_>]) -> BTreeSet<String> {
    let named = grounds.iter().filter_map(|ground| match ground {
        Ground::Declared(_, change) if facts.concern(&change.table) => change.column.clone(),
        Ground::Announced(loss) => match loss.subject.object() {
            Some(Object::Column(column)) if facts.concern(&column.table) => {
                Some(column.name.clone())
            }
            _ => None,
        },
        _ => None,
    });
    named.collect()
}

/// The columns among these in which a table differs; none if it differs in any other, or if that
/// cannot be told.
async fn differs_in(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    facts: &Facts,
    named: BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let name = facts.names[0].key();
    let before = run.observations.get(with);
    let before = before.and_then(|seen| seen.tables.get(&name));
    let Some(before) = before.filter(|_| run.snapshots.contains_key(with)) else {
        return Ok(BTreeSet::new());
    };
    let all = rows::columns_of(before);
    let without = |left_out: &BTreeSet<String>| -> Columns {
        let all = all.iter().filter(|(column, _)| !left_out.contains(*column));
        all.map(|(column, how)| (column.clone(), *how)).collect()
    };
    let others = without(&named);
    if !is_same_in(run, cx, with, facts, others.clone(), None).await? {
        return Ok(BTreeSet::new());
    }
    if named.len() == 1 {
        return Ok(named);
    }
    // A declaration must not count for a column that is what it was, because of one beside it.
    let mut differing = BTreeSet::new();
    for column in named.iter().filter(|column| all.contains_key(*column)) {
        let mut columns = others.clone();
        columns.insert(column.clone(), Reading::Value);
        if !is_same_in(run, cx, with, facts, columns, Some(column)).await? {
            differing.insert(column.clone());
        }
    }
    // Values may differ only in which of them stand in one row: then all of the columns may be meant.
    let told = is_same_in(run, cx, with, facts, without(&differing), None).await?;
    Ok(if told { differing } else { named })
}

/// Whether the rows of a table are what they were in these columns, as far as it has them now, and
/// it has the `needed` one.
async fn is_same_in(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    facts: &Facts,
    mut columns: Columns,
    needed: Option<&String>,
) -> Result<bool> {
    let name_then = facts.names[0].key();
    let name_now = facts.names.last().map_or_else(String::new, TableRef::key);
    let read = async |at: &At, name: &str, columns: &Columns| {
        let scope = Scope::Columns([(name.to_owned(), columns.clone())].into());
        let mut seen = run.look(cx, at, &scope).await?;
        Ok::<_, Error>(seen.tables.remove(name))
    };
    let Some(now) = read(&At::Live, &name_now, &columns).await? else {
        return Ok(false);
    };
    if needed.is_some_and(|column| !now.columns.contains_key(column)) {
        return Ok(false);
    }
    columns.retain(|column, _| now.columns.contains_key(column));
    let then = read(&At::Snapshot(with.to_owned()), &name_then, &columns).await?;
    Ok(then.is_some_and(|then| then.rows == now.rows && then.sum == now.sum))
}

/// How many rows of a table differ from the state `with`, where the environment can tell.
async fn counts(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    facts: &Facts,
) -> Result<Option<Counts>> {
    let name = facts.names[0].key();
    let seen = run.observations.get(with);
    let Some(table) = seen.and_then(|seen| seen.tables.get(&name)) else {
        return Ok(None);
    };
    let request = RowDiffRequest::new(&name, rows::columns_of(table));
    let found = rows::differing(run, cx, with, &At::Live, &[request]).await?;
    Ok(found.and_then(|found| found.get(&name).map(Counts::of)))
}

/// The declared losses that did not happen although there were rows to lose: asked once, at the
/// last comparison of the rows of both releases.
pub(in crate::runner) fn that_did_not_happen(run: &Run<'_>, step: &Step) -> Vec<Finding> {
    if last_of_both_releases(run.plan) != Some(step.id) {
        return Vec::new();
    }
    let back = past::reverts_all(run.plan);
    let sees_all = past::observes_every_state(run.plan);
    let all = run.upgrade.expected_changes().iter().enumerate();
    all.filter(|(place, change)| {
        let tried = change.made_by == MadeBy::Up || back;
        tried && !run.happened.contains(place) && !is_more_than_declared(run, change)
    })
    .filter_map(|(_, change)| {
        let seen = run.observations.values();
        let states: Vec<u64> = seen
            .filter_map(|seen| Some(seen.tables.get(&change.table.key())?.rows))
            .collect();
        let (object, reason) = (change.object(), &change.reason);
        let message = match states.iter().max() {
            // It may be made by one migration and removed by a later one.
            None if !sees_all => return None,
            None => {
                format!("is declared to be lost or changed ({reason}), and there is no such table")
            }
            // Without rows it cannot be told.
            Some(0) => return None,
            Some(_) if change.column.is_none() && has_columns_that_did(run, &change.table) => {
                format!(
                    "is declared to be lost or changed ({reason}), and nothing was but columns that are declared as well"
                )
            }
            Some(_) => format!("is declared to be lost or changed ({reason}), and it was not"),
        };
        Some(
            Finding::error("declared/loss-not-found", object, message)
                .with_help("remove the declaration, or name what is lost"),
        )
    })
    .collect()
}

/// Whether columns of a table are declared to be lost or changed, and were.
fn has_columns_that_did(run: &Run<'_>, table: &TableRef) -> bool {
    let all = run.upgrade.expected_changes().iter().enumerate();
    let mut of_columns =
        all.filter(|(_, change)| change.column.is_some() && change.table == *table);
    of_columns.any(|(place, _)| run.happened.contains(&place))
}

/// Whether the table of a declaration has lost more than was declared, so that what was declared is
/// not told from the rest.
fn is_more_than_declared(run: &Run<'_>, change: &ExpectedChange) -> bool {
    let mut found = run.report.findings.iter().map(|found| &found.finding);
    found.any(|finding| {
        let table = finding.subject.table();
        finding.fails() && table == Some(&change.table)
    })
}

fn last_of_both_releases(plan: &Plan) -> Option<crate::plan::StepId> {
    // The rows that a test of one migration gives may be the only ones that are lost.
    let given = |step: &Step| matches!(step.action, Action::Given { .. });
    let tests = plan.steps.iter().any(given);
    let is_one = |step: &&Step| {
        matches!(
            &step.action,
            Action::Compare { with, equal: Equal::SharedRows } if with == BASELINE || tests
        )
    };
    plan.steps.iter().rev().find(is_one).map(|step| step.id)
}
