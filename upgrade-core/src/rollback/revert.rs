//! Rollback step by step: the downs of the newer release, newest first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::confirm::Rows;
use super::target::Target;
use super::{Loss, LossKind, Prepared, Rollback, RollbackRequest, RollbackScope, Safety};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::migration::{Migration, Reversibility, Status};
use crate::observation::{Observation, Reading, Scope};
use crate::outcome::Outcome;
use crate::postgres::database::close;
use crate::postgres::sql::quote_ident;
use crate::postgres::{Database, Observer};
use crate::subject::{ColumnRef, TableRef};
use crate::validator::Verdict;

/// A rollback by reverting migrations, newest first.
///
/// The downs are those of the newer release, which made the change and knows how to undo it.
/// Rows that were written since the upgrade are kept, except for what the older schema cannot hold:
/// the new tables and columns with values in them, which [`check`](Rollback::check) names.
///
/// A database that this library did not make has to be adopted by name. It is then locked
/// against other operations from [`prepare`](Rollback::prepare) to
/// [`finalize`](Rollback::finalize), or until the strategy is dropped.
#[derive(Debug)]
pub struct RevertMigrations {
    target: Target,
    migrations: Vec<Arc<dyn Migration>>,
    observer: Observer,
}

/// What was measured on the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measured {
    /// Before the upgrade.
    baseline: Observation,
    /// When the first down began.
    begun: Option<Begun>,
}

/// What users have left when the first down begins: the downs have to keep it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Begun {
    /// See [`rows_written`].
    written: BTreeMap<String, u64>,
    /// The rows of each table that has all columns of the baseline, in those columns; of none where a
    /// migration may have changed rows [without a record](RevertMigrations::any_unrecorded).
    rows: BTreeMap<String, Rows>,
}

impl RevertMigrations {
    /// A rollback through the downs of these migrations; others it does not know.
    pub fn new(migrations: impl IntoIterator<Item = Arc<dyn Migration>>) -> Self {
        Self {
            target: Target::default(),
            migrations: migrations.into_iter().collect(),
            observer: Observer::default(),
        }
    }

    /// Lets it revert the database of that name, although this library did not make it.
    #[must_use]
    pub fn adopted(mut self, database: impl Into<String>) -> Self {
        self.target.hand_over(database.into());
        self
    }

    /// Observes in another way than by default.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    fn find(&self, id: &crate::migration::MigrationId) -> Option<&Arc<dyn Migration>> {
        self.migrations
            .iter()
            .find(|migration| migration.id() == id)
    }

    /// Refuses a database that was neither made by this library nor adopted.
    async fn guard(&self, live: Database) -> Result<()> {
        let mut admin = live.connect_maintenance().await?;
        live.guard(&mut admin, "reverted").await?;
        close(admin).await;
        Ok(())
    }

    async fn observe(&self, cx: &UpgradeContext) -> Result<Observation> {
        self.observe_in(cx, &Scope::All).await
    }

    async fn observe_in(&self, cx: &UpgradeContext, scope: &Scope) -> Result<Observation> {
        let mut connection = cx.connect().await?;
        let observation = self.observer.observe(&mut connection, scope).await?;
        close(connection).await;
        Ok(observation)
    }

    /// Whether a migration may have changed rows without a record of it, so that no down will undo that:
    /// what it changed cannot be told from what users wrote.
    async fn any_unrecorded(&self, cx: &UpgradeContext, request: &RollbackRequest) -> Result<bool> {
        for migration in request.applied.iter().filter_map(|id| self.find(id)) {
            if !migration.is_atomic()
                && matches!(migration.status(cx).await?, Status::Pending | Status::Dirty)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn begun(&self, cx: &UpgradeContext, baseline: &Observation) -> Result<Begun> {
        let now = self.observe(cx).await?;
        let written = rows_written(baseline, &now);
        let (mut rows, mut wider) = (BTreeMap::new(), BTreeMap::new());
        for (name, before) in &baseline.tables {
            let Some(table) = now.tables.get(name) else {
                continue;
            };
            if table.columns == before.columns {
                rows.insert(name.clone(), Rows::of(table));
            } else if before
                .columns
                .iter()
                .all(|column| table.columns.get(column.0) == Some(column.1))
            {
                let columns = before.columns.keys();
                let columns = columns.map(|column| (column.clone(), Reading::Value));
                wider.insert(name.clone(), columns.collect());
            }
        }
        if !wider.is_empty() {
            let seen = self.observe_in(cx, &Scope::Columns(wider)).await?;
            let tables = seen.tables.iter();
            rows.extend(tables.map(|(name, table)| (name.clone(), Rows::of(table))));
        }
        Ok(Begun { written, rows })
    }
}

#[async_trait]
impl Rollback for RevertMigrations {
    fn name(&self) -> &str {
        "revert migrations"
    }

    fn requires_reversible(&self) -> bool {
        true
    }

    fn keeps_writes(&self) -> bool {
        true
    }

    async fn prepare(&self, cx: &UpgradeContext, _: &RollbackScope) -> Result<Prepared> {
        // Now, and not when it is too late to choose another rollback.
        let live = self.target.live(cx)?;
        cx.bounded("look for the marker", self.guard(live))
            .await??;
        self.target.lock(cx).await?;
        let measured = cx.bounded("measure the baseline", self.observe(cx)).await;
        match measured.and_then(|measured| measured) {
            Ok(baseline) => Prepared::new(&Measured {
                baseline,
                begun: None,
            }),
            Err(error) => {
                self.target.release().await;
                Err(error)
            }
        }
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Safety> {
        let Measured { baseline, .. } = prepared.read()?;
        for id in request.applied.iter().rev() {
            let unsafe_at = |reason: String| Safety::Unsafe {
                boundary: format!("migration {id}"),
                reason,
            };
            match self.find(id).map(|migration| migration.reversibility()) {
                Some(Reversibility::Reversible) => {}
                Some(Reversibility::Irreversible { reason }) => return Ok(unsafe_at(reason)),
                None => return Ok(unsafe_at("its down is not at hand".to_owned())),
            }
        }
        let look = async {
            let now = self.observe(cx).await?;
            with_values(cx, losses(&baseline, &now)).await
        };
        let losses = cx.bounded("look for losses", look).await??;
        Ok(if losses.is_empty() {
            Safety::Safe
        } else {
            Safety::SafeWithLoss { losses }
        })
    }

    async fn begin(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Prepared> {
        let mut measured: Measured = prepared.read()?;
        if measured.begun.is_none() {
            let begun = async {
                let mut begun = self.begun(cx, &measured.baseline).await?;
                if self.any_unrecorded(cx, request).await? {
                    begun.rows.clear();
                }
                Ok::<_, Error>(begun)
            };
            measured.begun = Some(cx.bounded("measure what users wrote", begun).await??);
        }
        Prepared::new(&measured)
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome> {
        let _: Measured = prepared.read()?;
        let guard = async || {
            let live = self.target.locked(cx).await?;
            cx.bounded("look for the marker", self.guard(live)).await?
        };
        guard().await?;
        // Nothing is begun that cannot be ended.
        if let Safety::Unsafe { boundary, reason } = self.check(cx, prepared, request).await? {
            let message = format!("no rollback across {boundary}");
            let refused = Error::new(ErrorKind::Rollback, message).with_context("reason", reason);
            return Ok(Outcome::failed(refused));
        }
        for id in request.applied.iter().rev() {
            let Some(migration) = self.find(id) else {
                continue;
            };
            // Checked before each revert: the lock may have been lost during the one before.
            guard().await?;
            let not_reverted = |source: Error, kind, hint: &str| {
                Error::new(kind, format!("migration `{id}` was not reverted"))
                    .with_source(source)
                    .with_hint(format!("those after it are; {hint}"))
            };
            match migration.revert(cx).await {
                Ok(Outcome::Done | Outcome::NothingToDo) => {}
                Ok(Outcome::Failed(failure)) => {
                    let hint = "mend its down and call it again";
                    let failed = not_reverted((*failure).into(), ErrorKind::Rollback, hint);
                    return Ok(Outcome::failed(failed));
                }
                Err(error) => {
                    let kind = error.kind();
                    return Err(not_reverted(error, kind, "call it again"));
                }
            }
        }
        Ok(Outcome::Done)
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        let measured: Measured = prepared.read()?;
        let Begun { written, rows } = measured.begun.unwrap_or_default();
        let baseline = &measured.baseline;
        super::confirm::confirm(cx, &self.observer, baseline, &written, &rows).await
    }

    async fn finalize(&self, _: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        let _: Measured = prepared.read()?;
        self.target.release().await;
        Ok(())
    }
}

/// The tables of the baseline that had more rows when the first down began, each with how many:
/// what users wrote since the baseline is among them.
fn rows_written(baseline: &Observation, begun: &Observation) -> BTreeMap<String, u64> {
    let tables = baseline.tables.iter();
    tables
        .filter_map(|(name, table)| {
            let (_, now) = baseline.counterpart(name, begun)?;
            (now.rows > table.rows).then(|| (name.clone(), now.rows))
        })
        .collect()
}

/// Those losses that take a value: a new column in which every value is null takes none.
async fn with_values(cx: &UpgradeContext, losses: Vec<Loss>) -> Result<Vec<Loss>> {
    let mut kept = Vec::new();
    let mut connection = cx.connect().await?;
    for loss in losses {
        let has_values = match loss.subject.column() {
            Some(ColumnRef { table, name, .. }) => {
                let (table, name) = (table.key(), quote_ident(name));
                let sql = format!("select exists (select from {table} where {name} is not null)");
                let query = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection);
                query.await.map_err(|source| {
                    let message = format!("the values of {} cannot be read", loss.subject);
                    Error::new(ErrorKind::Database, message).with_source(source)
                })?
            }
            None => true,
        };
        if has_values {
            kept.push(loss);
        }
    }
    close(connection).await;
    Ok(kept)
}

/// What the older schema has no place for. A table or a column that only has another name has one.
fn losses(baseline: &Observation, now: &Observation) -> Vec<Loss> {
    let mut losses = Vec::new();
    for (name, table) in now.tables.iter().filter(|(_, table)| table.rows > 0) {
        let object = TableRef::new(name);
        let Some((_, before)) = now.counterpart(name, baseline) else {
            let message = format!("the {} rows of {name}, which is new", table.rows);
            losses.push(Loss::new(LossKind::Rows, object, message).with_rows(table.rows));
            continue;
        };
        let kept: BTreeSet<&str> = before
            .columns
            .keys()
            .filter_map(|column| before.column_later(column, table))
            .collect();
        let new = table.columns.keys();
        losses.extend(
            new.filter(|column| !kept.contains(column.as_str()))
                .map(|column| {
                    let message = format!("the values of {name} in {column}");
                    Loss::new(LossKind::Values, object.column(column), message)
                }),
        );
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::TableState;

    #[test]
    fn tables_that_have_more_rows_are_told_also_under_another_name() {
        let with = |tables: &[(&str, u64, u64)]| {
            let mut seen = Observation::default();
            seen.tables
                .extend(tables.iter().map(|(name, rows, identity)| {
                    let state =
                        TableState::new(BTreeMap::new(), *rows, "").with_identity(*identity);
                    ((*name).to_owned(), state)
                }));
            seen
        };
        let before = with(&[("a", 3, 1), ("b", 4, 2), ("c", 5, 3), ("d", 6, 4)]);
        let begun = with(&[("a", 3, 1), ("new b", 9, 2), ("c", 2, 3), ("e", 9, 5)]);
        let written: Vec<_> = rows_written(&before, &begun).into_iter().collect();
        assert_eq!(written, [("b".to_owned(), 9)]);
    }

    #[test]
    fn new_places_with_values_are_losses() {
        let table = |columns: &[&str], rows| {
            let columns: BTreeMap<_, _> = columns
                .iter()
                .map(|name| ((*name).to_owned(), "text".to_owned()))
                .collect();
            TableState::new(columns, rows, "")
        };
        let observation = |tables: &[(&str, TableState)]| {
            let mut observation = Observation::default();
            observation
                .tables
                .extend(tables.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
            observation
        };
        let before = observation(&[("a", table(&["x"], 3)), ("b", table(&["x"], 0))]);
        let now = observation(&[
            ("a", table(&["x", "y"], 3)),
            ("b", table(&["x", "y"], 0)),
            ("c", table(&["x"], 2)),
            ("d", table(&["x"], 0)),
        ]);
        let lost = losses(&before, &now);
        let read: Vec<String> = lost.iter().map(Loss::to_string).collect();
        assert_eq!(
            read,
            ["the values of a in y", "the 2 rows of c, which is new"]
        );
        assert_eq!(lost[0].subject, "column a.y");
        assert_eq!((lost[1].kind, lost[1].rows), (LossKind::Rows, Some(2)));
    }

    #[test]
    fn what_is_renamed_has_a_place_and_what_took_its_name_has_none() {
        let table = |identity, columns: &[(&str, u64)]| {
            let types = columns
                .iter()
                .map(|(name, _)| ((*name).to_owned(), "text".to_owned()));
            let numbers = columns
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number));
            TableState::new(types.collect(), 2, "")
                .with_identity(identity)
                .with_column_identities(numbers.collect())
        };
        let observation = |tables: &[(&str, TableState)]| {
            let mut seen = Observation::default();
            let tables = tables
                .iter()
                .map(|(name, state)| ((*name).to_owned(), state.clone()));
            seen.tables.extend(tables);
            seen
        };
        let check = |before: &[(&str, TableState)], now: &[(&str, TableState)], lost: &[&str]| {
            let found = losses(&observation(before), &observation(now));
            let read: Vec<&str> = found.iter().map(|loss| loss.subject.as_str()).collect();
            assert_eq!(read, lost, "{before:?} {now:?}");
        };
        let t = [("t", table(1, &[("full_name", 1)]))];
        check(&t, &[("t", table(1, &[("name", 1)]))], &[]);
        check(&t, &[("u", table(1, &[("full_name", 1)]))], &[]);
        check(&t, &[("u", table(1, &[("name", 1)]))], &[]);
        check(
            &t,
            &[("t", table(1, &[("name", 1), ("full_name", 2)]))],
            &["column t.full_name"],
        );
        check(
            &t,
            &[
                ("t", table(2, &[("full_name", 1)])),
                ("u", table(1, &[("full_name", 1)])),
            ],
            &["table t"],
        );
        // Made anew in place of the old one: it has the place of that.
        check(&t, &[("t", table(2, &[("full_name", 7)]))], &[]);
    }
}
