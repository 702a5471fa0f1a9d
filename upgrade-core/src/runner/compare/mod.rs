//! Comparing what is with what was.

pub(in crate::runner) mod declared;
pub(in crate::runner) mod late_writes;
pub(in crate::runner) mod rows;

use std::collections::BTreeMap;

use self::rows::{COLUMN_DROPPED, DOWN, Ids, NOT_RESTORED, UP, columns_of, subject};
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::expected::MadeBy;
use crate::finding::Finding;
use crate::ids::Phase;
use crate::observation::collateral::{self, Named};
use crate::observation::{
    Columns, DroppedColumn, Observation, Reading, RowDiff, RowDiffRequest, Scope, TableState,
};
use crate::plan::{self, Action, Equal, Step, past};
use crate::report::SchemaChange;
use crate::runner::judge::blame;
use crate::runner::judge::{Difference, Ground};
use crate::runner::run::{StepResult, verdict};
use crate::runner::state::Run;
use crate::runner::steps::crash;
use crate::runner::steps::requests;
use crate::subject::TableRef;

pub(in crate::runner) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    equal: Equal,
) -> StepResult {
    let expected = run.observed(with)?.clone();
    let difference = step.policy.difference;
    let difference = difference.unwrap_or_else(|| plan::Difference::of(step.phase, equal));
    let mut grounds: Vec<Ground<'_>> = requests::changes(run).collect();
    let mut also = Vec::new();
    let differences = match equal {
        Equal::Everything => {
            if went_back_by_downs(run, step) {
                grounds.extend(declared::declared(run, MadeBy::Down));
            }
            everything(run, cx, with, &expected, difference).await?
        }
        Equal::Reproducible => {
            let (mut expected, mut actual) =
                (expected, run.look(cx, &At::Live, &Scope::All).await?);
            crash::comparable(run, with, &mut expected, &mut actual);
            let (id, ids) = names(difference);
            let mut findings = differences(&expected, &actual, id, ids);
            // An index that is there and not valid has its own name.
            let invalid = expected.unfinished_findings(&actual);
            findings.retain(|finding| invalid.iter().all(|one| one.subject != finding.subject));
            findings.extend(invalid);
            if findings.is_empty() {
                crash::arrived(run, step);
            }
            Difference::all(findings)
        }
        Equal::Schema => {
            let actual = run.look(cx, &At::Live, &Scope::Schema).await?;
            Difference::all(expected.schema_findings(&actual, names(difference).0))
        }
        Equal::SharedRows if step.phase != Phase::Rollback => {
            grounds.extend(declared::declared(run, MadeBy::Up));
            if !run.upgrade.traffic().is_empty() {
                grounds.push(Ground::Gains);
            }
            // What is seen of everything serves all of this step.
            let seen = match step.phase {
                Phase::Expand | Phase::Soak => Some(run.look(cx, &At::Live, &Scope::All).await?),
                _ => None,
            };
            let mut differences = shared_rows(run, cx, step, with, &expected).await?;
            if let Some(seen) = &seen {
                if step.phase == Phase::Soak {
                    let changed = expected.large_objects_changed_by_up(seen);
                    differences.extend(Difference::all(changed));
                }
                also.extend(schema_changes(run, step, with, (&expected, seen)));
            }
            differences
        }
        Equal::SharedRows | Equal::Written => {
            grounds.extend(declared::declared(run, MadeBy::Down));
            late_writes::compare(run, cx, step, with, &expected, &mut grounds).await?
        }
    };
    let mut findings = declared::judge_differences(run, cx, with, differences, &grounds).await?;
    let up = equal == Equal::SharedRows && step.phase != Phase::Rollback;
    if up && run.is_at_head() {
        findings.extend(declared::that_did_not_happen(run, step));
    }
    findings.extend(also);
    if difference == plan::Difference::RoundTrip {
        let failed = findings.iter().filter(|finding| finding.fails());
        run.drift
            .extend(failed.map(|finding| finding.subject.to_string()));
    } else {
        // What a rollback has not restored is known, and no later step's doing.
        findings.retain(|finding| !run.drift.contains(finding.subject.as_str()));
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
        let change = SchemaChange::new(blamed.clone(), change.subject.as_str(), change.message);
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
    difference: plan::Difference,
) -> Result<Vec<Difference>> {
    let mut expected = expected.clone();
    let mut actual = run.look(cx, &At::Live, &Scope::All).await?;
    crash::without(&mut expected, run.crashes.emptied());
    crash::without(&mut actual, run.crashes.emptied());
    let (expected, actual) = (&expected, &actual);
    let (schema, ids) = names(difference);
    let mut all = Difference::all(expected.schema_findings(actual, schema));
    let mut rows = Difference::all(row_differences(expected, actual, ids));
    rows::name_all(run, cx, with, ids, &mut rows).await?;
    all.extend(rows);
    let mut beside = expected.sequence_findings(actual);
    beside.extend(expected.large_object_findings(actual));
    beside.extend(expected.column_order_findings(actual));
    all.extend(Difference::all(beside));
    Ok(all)
}

/// The names of the findings: rolling back and standing still are different failures.
fn names(difference: plan::Difference) -> (&'static str, Ids) {
    let same = |id| (id, Ids::same(id));
    match difference {
        plan::Difference::NotRestored => ("restore/schema-differs", NOT_RESTORED),
        plan::Difference::RoundTrip => ("down/schema-differs", DOWN),
        plan::Difference::SecondUp => same("down/second-up-differs"),
        plan::Difference::FreshInstall => same("order/fresh-install-differs"),
        plan::Difference::ReleasePath => same("order/release-path-differs"),
        plan::Difference::Crash => same("crash/result-differs"),
    }
}

/// All that differs in schema and rows.
pub(in crate::runner) fn differences(
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
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    expected: &Observation,
) -> Result<Vec<Difference>> {
    let mut wanted = expected.shared_columns(expected);
    let mut actual = run
        .look(cx, &At::Live, &Scope::Columns(wanted.clone()))
        .await?;
    if leave_out_replaced(expected, &actual, &mut wanted) {
        let scope = Scope::Columns(wanted.clone());
        actual = run.look(cx, &At::Live, &scope).await?;
    }
    let renamed = follow_renames(run, cx, expected, &wanted, &mut actual).await?;
    let notes = renamed.iter().map(|(name, new)| {
        Finding::note(
            "up/table-renamed",
            subject(name),
            format!("is called {new} now"),
        )
    });
    let mut all = Difference::all(notes);
    let shared = actual.shared_columns(&actual);
    let past = At::Snapshot(with.to_owned());
    let before = if shared == expected.shared_columns(expected) {
        expected.clone()
    } else {
        let mut before = run.look(cx, &past, &Scope::Columns(shared)).await?;
        // A missing table is on one side only, and has to be found all the same.
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
    let mut differences: Vec<Difference> = Difference::all(findings)
        .into_iter()
        .map(|difference| {
            let new = difference.table().and_then(|name| renamed.get(&name));
            match new {
                Some(new) => difference.also_named(new),
                None => difference,
            }
        })
        .collect();
    let found = rows::name(run, cx, with, &requests, UP, &mut differences).await?;
    // Equal in all values as far as rows can be told apart.
    differences.retain(|difference| {
        let diff = difference.table().and_then(|name| found.get(&name));
        !diff.is_some_and(RowDiff::is_empty)
    });
    for difference in &mut differences {
        let diff = difference.table().and_then(|name| found.get(&name));
        if difference.finding.id == UP.changed {
            rows::changed_by_up(difference, diff);
        } else if difference.finding.id == UP.lost && difference.finding.help.is_none() {
            difference.finding.help =
                Some("if that is meant, say so: `.expect_change(table, reason)`".to_owned());
        }
    }
    // What users have added is theirs, and not the migrations'.
    if run.upgrade.traffic().is_empty() && !past::written(run.plan, step) {
        for (name, diff) in &found {
            run.own_rows.add(renamed.get(name).unwrap_or(name), diff);
        }
    }
    all.extend(differences);
    let dropped = found.iter().flat_map(|(name, diff)| {
        let with_values = diff.dropped.iter().filter(|column| column.values > 0);
        with_values.map(|column| dropped_with_data(name, column))
    });
    all.extend(Difference::all(dropped));
    let changed = renamed_columns(run, cx, with, expected, &actual, &renamed).await?;
    all.extend(Difference::all(changed));
    all.extend(Difference::all(expected.sequence_findings(&actual)));
    Ok(all)
}

/// The columns that have another name now and other values. Each is compared alone: which row has
/// which value is not known.
async fn renamed_columns(
    run: &Run<'_>,
    cx: &UpgradeContext,
    with: &str,
    expected: &Observation,
    actual: &Observation,
    renamed: &BTreeMap<String, String>,
) -> Result<Vec<Finding>> {
    let past = At::Snapshot(with.to_owned());
    let mut findings = Vec::new();
    for (name, then) in expected.tables.iter().filter(|(_, table)| table.rows > 0) {
        let now = actual.tables.get(name).filter(|now| now.rows == then.rows);
        let Some(now) = now else { continue };
        let table = renamed.get(name).unwrap_or(name);
        for column in then.columns.keys() {
            let later = then.column_later(column, now);
            let Some(later) = later.filter(|later| later != column) else {
                continue;
            };
            let mut differ = true;
            for reading in [Reading::Value, Reading::Text] {
                let read = |table: &String, column: &str| {
                    let columns = [(column.to_owned(), reading)].into();
                    Scope::Columns([(table.clone(), columns)].into())
                };
                let before = run.look(cx, &past, &read(name, column)).await?;
                let after = run.look(cx, &At::Live, &read(table, later)).await?;
                let sum = |seen: &Observation, table| {
                    let table: Option<&TableState> = seen.tables.get(table);
                    table.map(|table| table.sum.clone())
                };
                differ = sum(&before, name) != sum(&after, table);
                if !differ {
                    break;
                }
            }
            if differ {
                let object = TableRef::new(name).column(column);
                let help = format!(
                    "keep the old values; if the change is meant, say so in the file: `-- upgrade: changes {object}: <reason>`"
                );
                let message = format!("is called {later} now, and has other values");
                findings.push(Finding::error(UP.changed, object, message).with_help(help));
            }
        }
    }
    Ok(findings)
}

/// The columns that are missing from tables with rows, by table. A renamed column is not missing.
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
        TableRef::new(table).column(name),
        format!("is missing; it had {values} {noun}"),
    )
    .with_evidence(rows)
    .with_help(format!(
        "move {they} first; if that is done or meant, say so in the file: `-- upgrade: loses {table}.{name}: <reason>`"
    ))
}

/// Leaves out the columns whose name is that of another column now, because they were renamed and
/// made anew. Answers whether there are such.
fn leave_out_replaced(
    expected: &Observation,
    actual: &Observation,
    wanted: &mut BTreeMap<String, Columns>,
) -> bool {
    let mut found = false;
    for (name, columns) in wanted {
        let (then, now) = (expected.tables.get(name), actual.tables.get(name));
        let (Some(then), Some(now)) = (then, now) else {
            continue;
        };
        columns.retain(|column, _| {
            let later = then.column_later(column, now);
            let kept =
                later.is_none_or(|later| later == column || !now.columns.contains_key(column));
            found |= !kept;
            kept
        });
    }
    found
}

/// Reads tables that have another name now as if they had the old one, also where another table
/// has that. Answers with their new names.
async fn follow_renames(
    run: &Run<'_>,
    cx: &UpgradeContext,
    expected: &Observation,
    wanted: &BTreeMap<String, Columns>,
    actual: &mut Observation,
) -> Result<BTreeMap<String, String>> {
    let mut renamed = BTreeMap::new();
    let is_same = |(name, table): (&String, &TableState)| {
        let now = actual.tables.get(name);
        now.is_some_and(|now| table.identity.is_none() || now.identity == table.identity)
    };
    if expected.tables.iter().all(is_same) {
        return Ok(renamed);
    }
    let all = run.look(cx, &At::Live, &Scope::All).await?;
    for name in expected.tables.keys() {
        let Some((new, _)) = expected.counterpart(name, &all) else {
            actual.tables.remove(name);
            continue;
        };
        if new == name {
            continue;
        }
        let scope = Scope::Columns([(new.to_owned(), wanted[name].clone())].into());
        let read = run.look(cx, &At::Live, &scope).await?;
        if let Some(now) = read.tables.get(new) {
            actual.tables.insert(name.clone(), now.clone());
            renamed.insert(name.clone(), new.to_owned());
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
