//! What the migrations changed in the schema, for a reviewer: by migration, one line for each object.

use std::fmt;

use super::{Report, SchemaChange};

/// How many lines stand in a report that is not asked for everything.
const SHOWN: usize = 30;

pub(super) fn render(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Where it is known which migration made a change, that says all of it.
    let known = report
        .schema
        .iter()
        .any(|change| change.migration.is_some());
    let all = report.schema.iter();
    let all: Vec<&SchemaChange> = all
        .filter(|change| !known || change.migration.is_some())
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nchanges of the schema")?;
    let shown = if f.alternate() { all.len() } else { SHOWN };
    let mut last = None;
    for change in all.iter().take(shown) {
        if let Some(migration) = &change.migration
            && last != Some(migration)
        {
            writeln!(f, "  {migration}")?;
        }
        last = change.migration.as_ref();
        let indent = if last.is_some() { "    " } else { "  " };
        writeln!(f, "{indent}{} {}", change.object, change.change)?;
    }
    if all.len() > shown {
        writeln!(
            f,
            "  and {} more, which the JSON report has",
            all.len() - shown
        )?;
    }
    Ok(())
}
