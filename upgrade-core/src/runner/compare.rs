//! Comparing what is with what was.

use std::collections::BTreeMap;

use super::rows::{self, COLUMN_DROPPED, Counts, DOWN, Ids, NOT_RESTORED, UP, columns_of, subject};
use super::run::{Run, StepResult, verdict};
use super::{blame, crash, downs, losses, traffic};
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::observation::collateral::{self, Named};
use crate::observation::{
    Columns, DroppedColumn, Observation, Reading, RowDiffRequest, Scope, TableState,
};
use crate::plan::{Action, Difference, Equal, Step, past};
use crate::report::SchemaChange;
use crate::upgrade::MadeBy;
use crate::validator::{Finding, Severity};
use crate::version::Phase;

pub(super) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    equal: Equal,
) -> StepResult {
    let expected = run.observed(with)?.clone();
    let difference = step.policy.difference;
    let difference = difference.unwrap_or_else(|| Difference::of(step.phase, equal));
    let mut findings = match equal {
        Equal::Everything => {
            let findings = everything(run, cx, with, &expected, difference).await?;
            if went_back_by_downs(run, step) {
                losses::excuse(run, cx, with, MadeBy::Down, findings).await?
            } else {
                findings
            }
        }
        Equal::Reproducible => {
            let (mut expected, mut actual) =
                (expected, run.look(cx, &At::Live, &Scope::All).await?);
            crash::comparable(run, with, &mut expected, &mut actual);
            let (id, ids) = names(difference);
            let findings = differences(&expected, &actual, id, ids);
            if findings.is_empty() {
                crash::arrived(run, step);
            }
            findings
        }
        Equal::Schema => {
            let actual = run.look(cx, &At::Live, &Scope::Schema).await?;
            expected.schema_findings(&actual, names(difference).0)
        }
        Equal::SharedRows if step.phase == Phase::Rollback => {
            downs::compare(run, cx, step, with, &expected).await?
        }
        Equal::SharedRows => {
            // What is seen of everything serves all of this step.
            let seen = match step.phase {
                Phase::Expand | Phase::Soak => Some(run.look(cx, &At::Live, &Scope::All).await?),
                _ => None,
            };
            let mut findings = shared_rows(run, cx, with, &expected).await?;
            if let Some(seen) = &seen
                && step.phase == Phase::Soak
            {
                findings.extend(expected.large_objects_changed_by_up(seen));
            }
            let mut findings = losses::excuse(run, cx, with, MadeBy::Up, findings).await?;
            if run.is_at_head() {
                findings.extend(losses::that_did_not_happen(run, step));
            }
            if let Some(seen) = &seen {
                findings.extend(schema_changes(run, step, with, (&expected, seen)));
            }
            findings
        }
        Equal::Written => downs::compare(run, cx, step, with, &expected).await?,
    };
    traffic::excuse_changes(run, cx, with, &mut findings).await?;
    if difference == Difference::RoundTrip {
        let failed = findings.iter().filter(|finding| finding.fails());
        run.drift
            .extend(failed.map(|finding| finding.subject.clone()));
    } else {
        // What a rollback has not restored is known, and no later step's doing.
        findings.retain(|finding| !run.drift.contains(&finding.subject));
    }
    Ok(verdict(findings))
}

/// What an up did to the schema, into the report; and what of it nobody can have meant.
fn schema_changes(
    run: &mut Run<'_>,
    step: &Step,
    with: &str,
    (expected, now): (&Observation, &Observation),
) -> Vec<Finding> {
    let blamed = blame::blame(run, step).map(|blame| blame.migration);
    for change in expected.schema_findings(now, "changed") {
        let change = SchemaChange::new(blamed.clone(), change.subject, change.message);
        if !run.report.schema.contains(&change) {
            run.report.schema.push(change);
        }
    }
    let before = run.applied_in(with);
    let mut named = Named::default();
    let all = run.upgrade.migrations().iter();
    for migration in all.filter(|one| run.applied.contains(one.id()) && !before.contains(one.id()))
    {
        named.add(statements(migration.script()));
    }
    let mut findings = collateral::findings(expected, now, &named);
    findings.extend(expected.behind_findings(now));
    if step.phase == Phase::Soak {
        findings.extend(expected.unfinished_findings(now));
    }
    findings
}

/// The words of a script's statements.
fn statements(script: Option<&str>) -> Option<Vec<Vec<String>>> {
    #[cfg(feature = "postgres")]
    return script.map(crate::postgres::sql::statement_words);
    #[cfg(not(feature = "postgres"))]
    return script.and(None);
}

/// Whether downs have run since the attempt of a step began.
fn went_back_by_downs(run: &Run<'_>, step: &Step) -> bool {
    past::before(run.plan, step).any(|other| match &other.action {
        Action::Revert { .. } => true,
        Action::RollBack { strategy, .. } => run.goes_by_downs(strategy),
        _ => false,
    })
}

/// Schema, rows, and what there is beside them.
async fn everything(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    expected: &Observation,
    difference: Difference,
) -> Result<Vec<Finding>> {
    let mut expected = expected.clone();
    let mut actual = run.look(cx, &At::Live, &Scope::All).await?;
    crash::without(&mut expected, run.crashes.emptied());
    crash::without(&mut actual, run.crashes.emptied());
    let (expected, actual) = (&expected, &actual);
    let (schema, ids) = names(difference);
    let mut findings = expected.schema_findings(actual, schema);
    let mut rows = row_differences(expected, actual, ids);
    let requests: Vec<RowDiffRequest> = expected
        .tables
        .iter()
        .filter(|(name, _)| rows.iter().any(|finding| finding.subject == subject(name)))
        .map(|(name, table)| RowDiffRequest::new(name, columns_of(table)))
        .collect();
    rows::name(run, cx, with, &requests, ids, &mut rows).await?;
    findings.extend(rows);
    findings.extend(expected.sequence_findings(actual));
    findings.extend(expected.large_object_findings(actual));
    findings.extend(expected.column_order_findings(actual));
    Ok(findings)
}

/// The names of the findings: rolling back and standing still are different failures.
fn names(difference: Difference) -> (&'static str, Ids) {
    let same = |id| (id, Ids::same(id));
    match difference {
        Difference::NotRestored => ("schema-not-restored", NOT_RESTORED),
        Difference::RoundTrip => ("round-trip-schema-differs", DOWN),
        Difference::SecondUp => same("second-up-schema-differs"),
        Difference::FreshInstall => same("fresh-install-differs"),
        Difference::ReleasePath => same("release-path-differs"),
        Difference::Crash => same("crash-result-differs"),
    }
}

/// All that differs in schema and rows.
pub(super) fn differences(
    expected: &Observation,
    actual: &Observation,
    schema: &str,
    rows: Ids,
) -> Vec<Finding> {
    let mut findings = expected.schema_findings(actual, schema);
    findings.extend(row_differences(expected, actual, rows));
    findings
}

/// All that differs in rows, those of new tables as well.
fn row_differences(expected: &Observation, actual: &Observation, ids: Ids) -> Vec<Finding> {
    let mut findings = expected.row_findings(actual, ids.lost, ids.changed);
    let tables = actual.tables.iter();
    let new = tables.filter(|(name, table)| table.rows > 0 && !expected.tables.contains_key(*name));
    findings.extend(new.map(|(name, table)| {
        let message = format!("was not there before, and has {} rows", table.rows);
        Finding::error(ids.changed, subject(name), message)
    }));
    findings
}

/// The rows of both sides, each read in the columns that both have.
async fn shared_rows(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    expected: &Observation,
) -> Result<Vec<Finding>> {
    let wanted = expected.shared_columns(expected);
    let mut actual = run
        .look(cx, &At::Live, &Scope::Columns(wanted.clone()))
        .await?;
    let renamed = follow_renames(run, cx, expected, &mut actual).await?;
    let mut notes: Vec<Finding> = renamed
        .iter()
        .map(|(name, new)| {
            Finding::note(
                "table-renamed",
                subject(name),
                format!("is called {new} now"),
            )
        })
        .collect();
    let shared = actual.shared_columns(&actual);
    let past = At::Snapshot(with.to_owned());
    let before = if shared == wanted {
        expected.clone()
    } else {
        let mut before = run.look(cx, &past, &Scope::Columns(shared)).await?;
        // A table that is gone is on one side only, and has to be seen all the same.
        for (name, table) in &expected.tables {
            before
                .tables
                .entry(name.clone())
                .or_insert_with(|| table.clone());
        }
        before
    };
    let mut findings = before.row_findings(&actual, UP.lost, UP.changed);
    // Equal values of two types may hash differently: those are compared once more.
    let retyped = retyped(&before, &actual, &findings);
    if !retyped.is_empty() {
        let scope = |by_new_name: bool| {
            let tables = retyped.iter().map(|(name, columns)| {
                let new = renamed.get(name).filter(|_| by_new_name).unwrap_or(name);
                (new.clone(), columns.clone())
            });
            Scope::Columns(tables.collect())
        };
        let now = run.look(cx, &At::Live, &scope(true)).await?;
        let then = run.look(cx, &past, &scope(false)).await?;
        for name in retyped.keys() {
            let new = renamed.get(name).unwrap_or(name);
            if now.tables.get(new).map(|now| &now.sum)
                == then.tables.get(name).map(|then| &then.sum)
            {
                findings.retain(|finding| finding.subject != subject(name));
            }
        }
    }
    let dropped = dropped(expected, &actual);
    let requests: Vec<RowDiffRequest> = before
        .tables
        .iter()
        .filter_map(|(name, table)| {
            let differs = findings
                .iter()
                .any(|finding| finding.subject == subject(name));
            let dropped = dropped.get(name);
            if !differs && dropped.is_none() {
                return None;
            }
            let mut columns = columns_of(table);
            columns.extend(retyped.get(name).cloned().unwrap_or_default());
            columns.extend(dropped.cloned().unwrap_or_default());
            let request = RowDiffRequest::new(name, columns);
            Some(match renamed.get(name) {
                Some(new) => request.renamed_to(new),
                None => request,
            })
        })
        .collect();
    let found = rows::name(run, cx, with, &requests, UP, &mut findings).await?;
    if !run.upgrade.traffic().is_empty() {
        // Users have added rows; whether one was lost or changed is another matter.
        let only_more = |finding: &Finding| {
            found.iter().any(|(name, diff)| {
                let counts = Counts::of(diff);
                let none_but_added = (counts.lost, counts.changed) == (0, 0) && counts.added > 0;
                finding.subject == subject(name) && none_but_added
            })
        };
        findings.retain(|finding| !only_more(finding));
    }
    for finding in &mut findings {
        // An upgrade may change values; that it loses rows is another matter.
        if finding.id == UP.changed {
            finding.severity = Severity::Warning;
        } else if finding.id == UP.lost && finding.help.is_none() {
            finding.help =
                Some("if that is meant, say so: `.expect_change(table, reason)`".to_owned());
        }
    }
    findings.extend(found.iter().flat_map(|(name, diff)| {
        let with_values = diff.dropped.iter().filter(|column| column.values > 0);
        with_values.map(|column| dropped_with_data(name, column))
    }));
    findings.extend(expected.sequence_findings(&actual));
    notes.extend(findings);
    Ok(notes)
}

/// The columns that are gone from tables with rows, by table. One that has another name now is not
/// gone.
fn dropped(expected: &Observation, actual: &Observation) -> BTreeMap<String, Columns> {
    let tables = expected.tables.iter().filter(|(_, table)| table.rows > 0);
    tables
        .filter_map(|(name, table)| {
            let now = actual.tables.get(name)?;
            let mut columns = columns_of(table);
            columns.retain(|column, _| table.column_later(column, now).is_none());
            (!columns.is_empty()).then(|| (name.clone(), columns))
        })
        .collect()
}

fn dropped_with_data(table: &str, column: &DroppedColumn) -> Finding {
    let (name, values) = (&column.column, column.values);
    let (noun, they) = if values == 1 {
        ("value", "it")
    } else {
        ("values", "them")
    };
    let rows: String = column.rows.iter().map(|row| format!("{row}\n")).collect();
    Finding::error(
        COLUMN_DROPPED,
        format!("column {table}.{name}"),
        format!("is gone, and {values} {noun} with it"),
    )
    .with_evidence(rows)
    .with_help(format!(
        "move {they} first; if that is done or meant, say so in the file: `-- upgrade: loses {table}.{name}: <reason>`"
    ))
}

/// Reads tables that have another name now as if they had the old one. Answers with their new
/// names.
async fn follow_renames(
    run: &Run<'_>,
    cx: &UpgradeContext,
    expected: &Observation,
    actual: &mut Observation,
) -> Result<BTreeMap<String, String>> {
    let mut renamed = BTreeMap::new();
    if expected
        .tables
        .keys()
        .all(|name| actual.tables.contains_key(name))
    {
        return Ok(renamed);
    }
    let all = run.look(cx, &At::Live, &Scope::All).await?;
    let wanted = expected.shared_columns(expected);
    for (name, table) in &expected.tables {
        if actual.tables.contains_key(name) || table.identity.is_none() {
            continue;
        }
        let same = |(_, now): &(&String, &TableState)| now.identity == table.identity;
        let Some((new, _)) = all.tables.iter().find(same) else {
            continue;
        };
        let scope = Scope::Columns([(new.clone(), wanted[name].clone())].into());
        let read = run.look(cx, &At::Live, &scope).await?;
        if let Some(now) = read.tables.get(new) {
            actual.tables.insert(name.clone(), now.clone());
            renamed.insert(name.clone(), new.clone());
        }
    }
    Ok(renamed)
}

/// The tables that differ and have columns of another type: how those are read on both sides.
fn retyped(
    before: &Observation,
    actual: &Observation,
    findings: &[Finding],
) -> BTreeMap<String, Columns> {
    let mut tables = BTreeMap::new();
    for (name, then) in &before.tables {
        let Some(now) = actual.tables.get(name) else {
            continue;
        };
        let differs = findings
            .iter()
            .any(|finding| finding.subject == subject(name));
        let reading = |(column, then): (&String, &String)| {
            let now = now.columns.get(column);
            (
                column.clone(),
                now.map_or(Reading::Text, |now| Reading::between(then, now)),
            )
        };
        let columns: Columns = then.columns.iter().map(reading).collect();
        if differs && columns.values().any(|reading| *reading != Reading::Value) {
            tables.insert(name.clone(), columns);
        }
    }
    tables
}
