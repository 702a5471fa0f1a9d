//! Tables that should have rows and have none: each is reported, and no migration that touches one
//! of them is ever judged as good.

use std::collections::BTreeSet;

use crate::context::UpgradeContext;
use crate::environment::{At, Unfilled};
use crate::error::Result;
use crate::finding::Finding;
use crate::migration::{Migration, MigrationId};
use crate::observation::{Observation, Scope};
use crate::runner::compare::rows::subject;
use crate::runner::state::Run;

/// The tables without rows, and which migrations were held against them.
#[derive(Debug, Default)]
pub(in crate::runner) struct UnfilledTables {
    tables: Vec<Unfilled>,
    judged: BTreeSet<MigrationId>,
    /// Why the step that is under way judges nothing, until it is recorded.
    reason: Option<String>,
}

impl UnfilledTables {
    /// Why the step that ends now judges nothing, if there is a reason.
    pub(in crate::runner) fn take_reason(&mut self) -> Option<String> {
        self.reason.take()
    }
}

/// Reports the tables that the environment could not fill.
pub(in crate::runner) fn report(run: &mut Run<'_>, cx: &UpgradeContext) {
    run.unfilled.tables = run.environment.unfilled();
    for Unfilled {
        table,
        reason,
        help,
    } in &run.unfilled.tables
    {
        let message = format!("has no rows: {reason}");
        cx.notice(Finding::note("data/table-empty", subject(table), message).with_help(help));
    }
}

/// The schema before a pending migration is applied for the first time, where a table has no rows.
pub(in crate::runner) async fn before(
    run: &Run<'_>,
    cx: &UpgradeContext,
    migration: &MigrationId,
) -> Result<Option<Observation>> {
    let mut pending = run.upgrade.migrations().iter();
    let asked = !run.unfilled.tables.is_empty()
        && !run.unfilled.judged.contains(migration)
        && pending.any(|other| other.id() == migration);
    Ok(match asked {
        true => Some(run.look(cx, &At::Live, &Scope::Schema).await?),
        false => None,
    })
}

/// Finds the tables without rows that the migration has touched since: it names them, or they are
/// not what they were.
pub(in crate::runner) async fn after(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    migration: &dyn Migration,
    before: &Observation,
) -> Result<()> {
    let after = run.look(cx, &At::Live, &Scope::Schema).await?;
    let touched: Vec<String> = run
        .unfilled
        .tables
        .iter()
        .filter(|unfilled| {
            let table = unfilled.table.as_str();
            let bare = table.rsplit('.').next().unwrap_or(table).trim_matches('"');
            mentions(migration.script(), bare)
                || before.facts_of_table(table) != after.facts_of_table(table)
        })
        .map(|unfilled| format!("{} has no rows: {}", unfilled.table, unfilled.reason))
        .collect();
    run.unfilled.judged.insert(migration.id().clone());
    if !touched.is_empty() {
        run.unfilled.reason = Some(format!(
            "what {} does to the rows of a table could not be judged: {}",
            migration.id(),
            touched.join("; ")
        ));
    }
    Ok(())
}

/// Whether the SQL of a migration names an object, by its bare name. One that is no SQL names
/// nothing that can be read.
fn mentions(script: Option<&str>, name: &str) -> bool {
    #[cfg(feature = "postgres")]
    {
        script.is_some_and(|sql| crate::postgres::sql::mentions(sql, name))
    }
    #[cfg(not(feature = "postgres"))]
    {
        let _ = (script, name);
        false
    }
}
