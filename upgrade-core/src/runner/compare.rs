//! Comparing what is with what was.

use std::collections::BTreeMap;

use super::run::{Run, StepResult};
use super::{crash, downs};
use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::observation::{Columns, Observation, Reading, Scope, TableState};
use crate::plan::{Equal, Step};
use crate::validator::{Finding, Severity, Verdict};
use crate::version::Phase;

pub(super) async fn compare(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    step: &Step,
    with: &str,
    equal: Equal,
) -> StepResult {
    let expected = run.observations[with].clone();
    let findings = match equal {
        Equal::Everything => {
            let mut expected = expected;
            let mut actual = run.environment.observe(cx, &At::Live, &Scope::All).await?;
            crash::without(&mut expected, run.crashes.emptied());
            crash::without(&mut actual, run.crashes.emptied());
            let (schema, lost, changed) = names(step.phase);
            let mut findings = expected.schema_findings(&actual, schema);
            findings.extend(expected.row_findings(&actual, lost, changed));
            findings.extend(new_rows(&expected, &actual, changed));
            findings
        }
        Equal::Reproducible => {
            let (mut expected, mut actual) = (
                expected,
                run.environment.observe(cx, &At::Live, &Scope::All).await?,
            );
            crash::comparable(run, with, &mut expected, &mut actual);
            let id = "crash-result-differs";
            let mut findings = expected.schema_findings(&actual, id);
            findings.extend(expected.row_findings(&actual, id, id));
            findings.extend(new_rows(&expected, &actual, id));
            if findings.is_empty()
                && let Some(last) = run.applied.last().cloned()
                && let Some(report) = run.migration_report(&last)
            {
                report.crash.run_again += 1;
            }
            findings
        }
        Equal::Schema => {
            let actual = run
                .environment
                .observe(cx, &At::Live, &Scope::Schema)
                .await?;
            let id = match step.phase {
                Phase::Rollback => names(step.phase).0,
                _ => "second-up-schema-differs",
            };
            expected.schema_findings(&actual, id)
        }
        Equal::SharedRows => {
            let mut findings = shared_rows(run, cx, with, &expected).await?;
            if step.phase == Phase::Rollback {
                findings = downs::findings(run, step, findings);
            }
            excuse(run, findings)
        }
    };
    Ok(if findings.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail(findings)
    })
}

/// The names of the findings: going back and standing still are different failures.
fn names(phase: Phase) -> (&'static str, &'static str, &'static str) {
    match phase {
        Phase::Rollback => (
            "round-trip-schema-differs",
            "data-lost-through-down",
            "data-changed-through-down",
        ),
        _ => (
            "schema-not-restored",
            "data-not-restored",
            "data-not-restored",
        ),
    }
}

/// Tables with rows that were not there before.
fn new_rows(expected: &Observation, actual: &Observation, id: &str) -> Vec<Finding> {
    actual
        .tables
        .iter()
        .filter(|(name, table)| table.rows > 0 && !expected.tables.contains_key(*name))
        .map(|(name, table)| {
            Finding::error(
                id,
                format!("table {name}"),
                format!("was not there before, and has {} rows", table.rows),
            )
        })
        .collect()
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
        .environment
        .observe(cx, &At::Live, &Scope::Columns(wanted.clone()))
        .await?;
    let mut findings = follow_renames(run, cx, expected, &mut actual).await?;
    let shared = actual.shared_columns(&actual);
    let past = At::Snapshot(with.to_owned());
    let before = if shared == wanted {
        expected.clone()
    } else {
        let mut before = run
            .environment
            .observe(cx, &past, &Scope::Columns(shared))
            .await?;
        // A table that is gone is on one side only, and has to be seen all the same.
        for (name, table) in &expected.tables {
            before
                .tables
                .entry(name.clone())
                .or_insert_with(|| table.clone());
        }
        before
    };
    findings.extend(before.row_findings(&actual, "rows-lost-by-up", "rows-changed-by-up"));
    // Equal values of two types may hash differently: those are compared once more, as text.
    let retyped = retyped(&before, &actual, &findings);
    if !retyped.is_empty() {
        let scope = Scope::Columns(retyped.clone());
        let now = run.environment.observe(cx, &At::Live, &scope).await?;
        let then = run.environment.observe(cx, &past, &scope).await?;
        for name in retyped.keys() {
            if now.tables.get(name).map(|now| &now.sum)
                == then.tables.get(name).map(|then| &then.sum)
            {
                findings.retain(|finding| finding.subject != format!("table {name}"));
            }
        }
    }
    for finding in &mut findings {
        // An upgrade may change values; that it loses rows is another matter.
        if finding.id == "rows-changed-by-up" {
            finding.severity = Severity::Warning;
        } else if finding.id == "rows-lost-by-up" && finding.help.is_none() {
            finding.help =
                Some("if that is meant, say so: `.expect_change(table, reason)`".to_owned());
        }
    }
    Ok(findings)
}

/// Reads tables that have another name now as if they had the old one.
async fn follow_renames(
    run: &Run<'_>,
    cx: &UpgradeContext,
    expected: &Observation,
    actual: &mut Observation,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if expected
        .tables
        .keys()
        .all(|name| actual.tables.contains_key(name))
    {
        return Ok(findings);
    }
    let all = run.environment.observe(cx, &At::Live, &Scope::All).await?;
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
        let read = run.environment.observe(cx, &At::Live, &scope).await?;
        if let Some(now) = read.tables.get(new) {
            actual.tables.insert(name.clone(), now.clone());
            findings.push(Finding::note(
                "table-renamed",
                format!("table {name}"),
                format!("is called {new} now"),
            ));
        }
    }
    Ok(findings)
}

/// The tables that differ and have columns of another type: those to be read as text.
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
            .any(|finding| finding.subject == format!("table {name}"));
        let reading = |(column, of_type): (&String, &String)| {
            let same = now.columns.get(column) == Some(of_type);
            (
                column.clone(),
                if same { Reading::Value } else { Reading::Text },
            )
        };
        let columns: Columns = then.columns.iter().map(reading).collect();
        if differs && columns.values().any(|reading| *reading == Reading::Text) {
            tables.insert(name.clone(), columns);
        }
    }
    tables
}

/// A change that the user declared, with a reason, is worth a note only.
fn excuse(run: &Run<'_>, mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        let declared = run
            .upgrade
            .expected_changes()
            .iter()
            .find(|change| finding.subject == format!("table {}", change.table));
        if let Some(change) = declared {
            finding.severity = Severity::Note;
            finding.help = Some(format!("declared: {}", change.reason));
        }
    }
    findings
}
