//! Rows across a way back: whether it keeps what was there, and what users wrote after the up.

use super::losses;
use super::rows::{self, Counts, DOWN, Ids, LATE, UP, columns_of, subject};
use super::run::Run;
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::observation::{
    Columns, Observation, Reading, RowDiff, RowDiffRequest, Scope, TableState,
};
use crate::plan::past::{self, WayUp};
use crate::plan::{Action, Plan, Step, StepId};
use crate::rollback::Safety;
use crate::upgrade::MadeBy;
use crate::validator::{Finding, Severity};

/// One table, by its names in the three states.
#[derive(Debug)]
struct Table<'s> {
    /// Below, before the up; nothing if an up has made it.
    old: Option<&'s str>,
    /// Above, before the way back.
    above: &'s str,
    now: &'s str,
    /// The columns that are compared.
    columns: Columns,
    /// How they are compared where one has another type now.
    retyped: Option<Columns>,
    /// How many rows there were above, and are now.
    rows: (u64, u64),
}

/// What differs from the state `with`, which was observed above: before a way back, when users had
/// written, or before a down.
///
/// What only the newer release has a place for goes with it, and is said beforehand. Anything else
/// has to be there: every row in every case; every value too, and no other row, unless an up has
/// changed the table, so that its down may change it back.
pub(super) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    above: &Observation,
) -> Result<Vec<Finding>> {
    let plan = run.plan;
    let way = past::way_up(plan, step, with);
    let ids = if way.written { LATE } else { DOWN };
    let below = run.observed(way.from)?.clone();
    let said = said_before(run, step);
    let is_said = |name: &str| said.iter().flatten().any(|loss| names(loss, name));
    let populated = above.tables.iter().filter(|(_, table)| table.rows > 0);
    let mut of_both = Vec::new();
    for (name, table) in populated {
        let old = find(&below, name, table);
        let mut columns = columns_of(table);
        if !way.is_back {
            // It has gone with the down, and is made again.
            columns
                .retain(|column, _| old.is_some_and(|(_, old)| old.columns.contains_key(column)));
        }
        let old = old.map(|(old, _)| old);
        if (way.is_back || old.is_some()) && !is_said(name) && !old.is_some_and(is_said) {
            of_both.push((old, name.as_str(), table, columns));
        }
    }
    // Now it has the name of one of the two releases.
    let read = of_both.iter().flat_map(|(old, name, _, columns)| {
        let names = old.iter().chain([name]);
        names.map(|name| ((*name).to_owned(), columns.clone()))
    });
    let scope = Scope::Columns(read.collect());
    let live = run.look(cx, &At::Live, &scope).await?;
    let mut findings = Vec::new();
    let mut tables = Vec::new();
    for (old, name, table, mut columns) in of_both {
        let identity = old.map_or(table, |old| &below.tables[old]);
        match find(&live, old.unwrap_or(name), identity) {
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
            None => findings.push(Finding::error(
                ids.lost,
                subject(name),
                format!("is gone, and its {} rows with it", table.rows),
            )),
        }
    }
    tables.retain(|table| !table.columns.is_empty());
    let differing = differing(run, cx, with, tables, &live).await?;
    let requests: Vec<RowDiffRequest> = differing
        .iter()
        .map(|table| RowDiffRequest::new(table.above, table.columns.clone()).renamed_to(table.now))
        .collect();
    let found = rows::differing(run, cx, with, &At::Live, &requests).await?;
    // Users go on, and what they add since then is not the way back's.
    let go_on = !run.upgrade.traffic().is_empty();
    for table in &differing {
        let by_up = is_changed_by_up(run, step, &way, table);
        let diff = found.as_ref().and_then(|found| found.get(table.above));
        let counts = diff.map_or(Counts::by_number(table.rows), Counts::of);
        if go_on && (counts.lost, counts.changed) == (0, 0) {
            continue;
        }
        findings.extend(match &found {
            Some(found) => found
                .get(table.above)
                .and_then(|diff| judge(table, Some(diff), ids, by_up)),
            None => judge(table, None, ids, by_up),
        });
    }
    // A sequence that the up made goes with its down, and another up makes another one.
    let mut of_both = above.clone();
    of_both
        .sequences
        .retain(|name, _| below.sequences.contains_key(name));
    findings.extend(of_both.sequence_findings(&live));
    // The numbers of a sequence go with the rows that have them.
    findings.retain(|finding| said.is_none() || finding.id != "sequence-went-back");
    losses::excuse(run, cx, with, MadeBy::Down, findings).await
}

/// The table of a name, else the one that the system knows by the same number.
fn find<'s>(
    seen: &'s Observation,
    name: &str,
    table: &TableState,
) -> Option<(&'s str, &'s TableState)> {
    let by_identity = || {
        let mut all = seen.tables.iter();
        all.find(|(_, other)| table.identity.is_some() && other.identity == table.identity)
    };
    let found = seen.tables.get_key_value(name).or_else(by_identity);
    found.map(|(name, state)| (name.as_str(), state))
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
fn judge(table: &Table<'_>, diff: Option<&RowDiff>, ids: Ids, by_up: bool) -> Option<Finding> {
    let (is_loss, mut message) = match diff {
        Some(diff) if diff.is_empty() => return None,
        Some(diff) => (Counts::of(diff).lost > 0, diff.summary()),
        None => {
            let (before, now) = table.rows;
            let message = format!("has other rows: {before} before, {now} now");
            (now < before, message)
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
    Some(if is_loss || !by_up {
        finding
    } else {
        Finding {
            severity: Severity::Warning,
            ..finding
        }
        .with_help("the up changes this table; look whether the down is its inverse for all that users can write")
    })
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

/// What a way back of the same attempt named beforehand, as `rollback-loses`. One by downs speaks
/// of what the older schema has no place for, which is not looked at here.
fn said_before(run: &Run<'_>, step: &Step) -> Option<Vec<String>> {
    let is_one = |other: &Step| match &other.action {
        Action::RollBack { strategy, .. } => !run.goes_by_downs(strategy),
        _ => false,
    };
    let of_attempt = past::before(run.plan, step).find(|other| is_one(other))?;
    let mut rollbacks = run.report.rollbacks.iter();
    let report = rollbacks.find(|report| report.step == of_attempt.id)?;
    match &report.safety {
        Safety::SafeWithLoss { losses } => Some(losses.clone()),
        _ => None,
    }
}

/// Whether a text has a name in it, and not only one that begins or ends like it.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_longer_ones() {
        let loss = "what was written to public.orders since the copy";
        assert!(names(loss, "public.orders"));
        assert!(!names(loss, "public.order") && !names(loss, "orders"));
        assert!(names("changes to public.a and public.b", "public.b"));
    }
}
