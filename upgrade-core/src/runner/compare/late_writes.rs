//! Rows across a rollback: whether it keeps what was there, and what users wrote after the up.

use std::collections::BTreeSet;

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::observation::{Columns, Observation, Reading, RowDiff, RowDiffRequest, Scope};
use crate::plan::past::{self, WayUp};
use crate::plan::{Action, Plan, Step, StepId};
use crate::rollback::{Loss, LossKind, Safety};
use crate::runner::compare::rows::{self, DOWN, Ids, LATE, UP, columns_of, subject};
use crate::runner::judge::{Counts, Difference, Ground};
use crate::runner::state::Run;

/// One table, by its names in the three states.
#[derive(Debug)]
struct Table<'s> {
    /// Below, before the up; nothing if an up has made it.
    old: Option<&'s str>,
    /// Above, before the rollback.
    above: &'s str,
    now: &'s str,
    /// The columns that are compared.
    columns: Columns,
    /// How they are compared where one has another type now.
    retyped: Option<Columns>,
    /// How many rows there were above, and are now.
    rows: (u64, u64),
}

/// What differs from the state `with`, which was observed above: before a rollback, when users had
/// written, or before a down.
///
/// What only the newer release has a place for goes with it, and is said beforehand. Anything else
/// has to be there: every row in every case; every value too, and no other row, unless an up has
/// changed the table, so that its down may change it back.
pub(in crate::runner) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    above: &Observation,
    grounds: &mut Vec<Ground<'_>>,
) -> Result<Vec<Difference>> {
    let plan = run.plan;
    let way = past::way_up(plan, step, with);
    let ids = if way.written { LATE } else { DOWN };
    let below = run.observed(way.from)?.clone();
    let announced = announced(run, step);
    let populated = above.tables.iter().filter(|(_, table)| table.rows > 0);
    let mut of_both = Vec::new();
    for (name, table) in populated {
        let old = above.counterpart(name, &below);
        let mut columns = columns_of(table);
        columns.retain(|column, _| match old {
            // One that was made anew under the name of one that was renamed is another column.
            Some((_, old)) if old.columns.contains_key(column) => {
                old.column_later(column, table) == Some(column)
            }
            // Only the newer release has it: it has gone with the down, and is made again.
            _ => way.is_back,
        });
        let old = old.map(|(old, _)| old);
        if way.is_back || old.is_some() {
            of_both.push((old, name.as_str(), table, columns));
        }
    }
    // An up may rename a table and make another one under the old name. That other one no longer
    // exists once the renamed table has its old name again.
    let taken: BTreeSet<&str> = of_both.iter().filter_map(|(old, ..)| *old).collect();
    of_both.retain(|(old, name, ..)| old.is_some() || !taken.contains(name));
    // Now it has the name of one of the two releases.
    let read = of_both.iter().flat_map(|(old, name, _, columns)| {
        let names = old.iter().chain([name]);
        names.map(|name| ((*name).to_owned(), columns.clone()))
    });
    let scope = Scope::Columns(read.collect());
    let live = run.look(cx, &At::Live, &scope).await?;
    let mut differences = Vec::new();
    let mut tables = Vec::new();
    for (old, name, table, mut columns) in of_both {
        let as_old = || old.and_then(|old| below.counterpart(old, &live));
        match above.counterpart(name, &live).or_else(as_old) {
            Some((now, state)) => {
                columns.retain(|column, _| state.columns.contains_key(column));
                let across: Columns = columns
                    .keys()
                    .map(|column| {
                        let (then, now) = (&table.columns[column], &state.columns[column]);
                        (column.clone(), Reading::between(then, now))
                    })
                    .collect();
                tables.push(Table {
                    old,
                    above: name,
                    now,
                    retyped: (across != columns).then_some(across),
                    columns,
                    rows: (0, 0),
                });
            }
            None if old.is_none() => {}
            None => {
                let message = format!("is missing; it had {} rows", table.rows);
                let gone = Difference::of(Finding::error(ids.lost, subject(name), message));
                differences.push(gone.with_counts(Counts::by_number((table.rows, 0))));
            }
        }
    }
    tables.retain(|table| !table.columns.is_empty());
    let differing = differing(run, cx, with, tables, &live).await?;
    let requests: Vec<RowDiffRequest> = differing
        .iter()
        .map(|table| RowDiffRequest::new(table.above, table.columns.clone()).renamed_to(table.now))
        .collect();
    let found = rows::differing(run, cx, with, &At::Live, &requests).await?;
    for table in &differing {
        let by_up = is_changed_by_up(run, step, &way, table);
        let diff = found.as_ref().map(|found| found.get(table.above));
        let own = |diff| run.own_rows.among_lost(table.above, diff);
        let counts = match diff {
            Some(Some(diff)) => Counts::without(diff, own(diff)),
            Some(None) => continue,
            None => Counts::by_number(table.rows),
        };
        if counts == Counts::default() {
            continue;
        }
        let finding = judge(table, diff.flatten(), counts, ids, by_up);
        let mut difference = Difference::of(finding).with_counts(counts);
        if let Some(facts) = &mut difference.facts {
            facts.values_in = diff.flatten().and_then(rows::values_in);
        }
        for name in table.old.into_iter().chain([table.now]) {
            difference = difference.also_named(name);
        }
        differences.push(difference);
    }
    // Users go on, and what they add since then is not the rollback's.
    if !run.upgrade.traffic().is_empty() {
        grounds.push(Ground::Gains);
    }
    // The numbers of a sequence go with the rows that have them.
    if announced.iter().all(|loss| loss.kind == LossKind::Other) {
        // A sequence that the up made goes with its down, and another up makes another one.
        let mut of_both = above.clone();
        of_both
            .sequences
            .retain(|name, _| below.sequences.contains_key(name));
        differences.extend(Difference::all(of_both.sequence_findings(&live)));
    }
    grounds.extend(announced.into_iter().map(Ground::Announced));
    Ok(differences)
}

/// The tables whose rows are not what they were; `now` has read their columns as values. Where a
/// column has another type now, it is read so that both can be compared.
async fn differing<'t>(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    mut tables: Vec<Table<'t>>,
    now: &Observation,
) -> Result<Vec<Table<'t>>> {
    let past = At::Snapshot(with.to_owned());
    let scope = |tables: &[Table<'t>], name: fn(&Table<'t>) -> &'t str| {
        let columns = |table: &Table<'t>| (name(table).to_owned(), table.columns.clone());
        Scope::Columns(tables.iter().map(columns).collect())
    };
    let differs = |table: &mut Table<'t>, then: &Observation, now: &Observation| {
        let read = |seen: &Observation, name| {
            let table = seen.tables.get(name);
            table.map_or((0, String::new()), |table| (table.rows, table.sum.clone()))
        };
        let (then, now) = (read(then, table.above), read(now, table.now));
        table.rows = (then.0, now.0);
        then != now
    };
    let then = scope(&tables, |table| table.above);
    let then = run.look(cx, &past, &then).await?;
    tables.retain_mut(|table| differs(table, &then, now));
    if tables.iter().any(|table| table.retyped.is_some()) {
        for table in &mut tables {
            if let Some(across) = table.retyped.take() {
                table.columns = across;
            }
        }
        let (then, now) = (
            scope(&tables, |table| table.above),
            scope(&tables, |table| table.now),
        );
        let then = run.look(cx, &past, &then).await?;
        let now = run.look(cx, &At::Live, &now).await?;
        tables.retain_mut(|table| differs(table, &then, &now));
    }
    Ok(tables)
}

/// What is wrong with one table; `diff` names the rows where that can be done.
fn judge(
    table: &Table<'_>,
    diff: Option<&RowDiff>,
    counts: Counts,
    ids: Ids,
    by_up: bool,
) -> Finding {
    let is_loss = counts.lost > 0;
    let mut message = match diff {
        Some(diff) => diff.summary(),
        None => {
            let (before, now) = table.rows;
            format!("has other rows: {before} before, {now} now")
        }
    };
    let id = if is_loss { ids.lost } else { ids.changed };
    if id == LATE.lost {
        message.push_str(" after users wrote");
    }
    let finding = Finding {
        evidence: diff.map(RowDiff::to_string),
        ..Finding::error(id, subject(table.above), message)
    };
    if is_loss || !by_up {
        finding
    } else {
        Finding {
            severity: Severity::Warning,
            ..finding
        }
        .with_help("the up changes this table; look whether the down is its inverse for all that users can write")
    }
}

/// Whether a comparison on the way up found that an up has changed a table.
fn is_changed_by_up(run: &Run<'_>, step: &Step, way: &WayUp<'_>, table: &Table<'_>) -> bool {
    let by_up = |finding: &Finding| finding.id == UP.lost || finding.id == UP.changed;
    let of_table = |finding: &Finding| {
        let mut names = table.old.iter().chain([&table.above]);
        names.any(|name| finding.subject == subject(name))
    };
    run.report.findings.iter().any(|found| {
        by_up(&found.finding)
            && of_table(&found.finding)
            && is_of_way(run.plan, found.step, step, way)
    })
}

/// Whether a comparison was one with the state below, or in the same attempt.
fn is_of_way(plan: &Plan, compared: StepId, step: &Step, way: &WayUp<'_>) -> bool {
    plan.steps.iter().any(|other| {
        let with_below = matches!(&other.action, Action::Compare { with, .. } if with == way.from);
        other.id == compared && (with_below || other.attempt == step.attempt)
    })
}

/// What a rollback of the same attempt announced, as `rollback/loses`. One by downs announces what
/// the older schema has no place for, which is not compared here.
fn announced(run: &Run<'_>, step: &Step) -> Vec<Loss> {
    let is_one = |other: &&Step| match &other.action {
        Action::RollBack { strategy, .. } => !run.goes_by_downs(strategy),
        _ => false,
    };
    let of_attempt = past::before(run.plan, step).find(is_one);
    let mut rollbacks = run.report.rollbacks.iter();
    let report = of_attempt.and_then(|one| rollbacks.find(|report| report.step == one.id));
    match report.map(|report| &report.safety) {
        Some(Safety::SafeWithLoss { losses }) => losses.clone(),
        _ => Vec::new(),
    }
}
