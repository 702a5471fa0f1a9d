//! Going back step by step: the downs of the newer release, newest first.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Rollback, RollbackRequest, Safety};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::migration::{Migration, Reversibility};
use crate::observation::{Observation, Scope};
use crate::postgres::Observer;
use crate::postgres::database::close;
use crate::validator::Verdict;

/// A rollback by reverting migrations, newest first.
///
/// The downs are those of the newer release, which made the change and knows how to undo it.
/// Rows that were written meanwhile are kept, except for what the older schema cannot hold: the
/// new tables and columns with values in them, which [`check`](Rollback::check) names.
///
/// A database that this library did not make has to be handed over by name.
#[derive(Debug)]
pub struct RevertMigrations {
    handed_over: Option<String>,
    migrations: Vec<Arc<dyn Migration>>,
    observer: Observer,
    baseline: Mutex<Option<Observation>>,
}

impl RevertMigrations {
    /// A rollback through the downs of these migrations; others it does not know.
    pub fn new(migrations: impl IntoIterator<Item = Arc<dyn Migration>>) -> Self {
        Self {
            handed_over: None,
            migrations: migrations.into_iter().collect(),
            observer: Observer::default(),
            baseline: Mutex::new(None),
        }
    }

    /// Lets it revert the database of that name, although this library did not make it.
    #[must_use]
    pub fn handed_over(mut self, database: impl Into<String>) -> Self {
        self.handed_over = Some(database.into());
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

    fn baseline(&self) -> Option<Observation> {
        self.baseline
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, baseline: Option<Observation>) {
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = baseline;
    }

    /// Refuses a database that was neither made by this library nor handed over.
    async fn guard(&self, cx: &UpgradeContext) -> Result<()> {
        let mut live = cx.database()?;
        if let Some(name) = &self.handed_over {
            live = live.handed_over(name)?;
        }
        let mut admin = live.connect_maintenance().await?;
        live.guard(&mut admin, "reverted").await?;
        close(admin).await;
        Ok(())
    }

    async fn observe(&self, cx: &UpgradeContext) -> Result<Observation> {
        let mut connection = cx.connect().await?;
        let observation = self.observer.observe(&mut connection, &Scope::All).await?;
        close(connection).await;
        Ok(observation)
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

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        self.keep(None);
        // Now, and not when it is too late to choose another way back.
        cx.bounded("look for the marker", self.guard(cx)).await??;
        let baseline = cx
            .bounded("measure the baseline", self.observe(cx))
            .await??;
        self.keep(Some(baseline));
        Ok(())
    }

    async fn check(&self, cx: &UpgradeContext, request: &RollbackRequest) -> Result<Safety> {
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
        let Some(baseline) = self.baseline() else {
            return Ok(Safety::Unsafe {
                boundary: "baseline".to_owned(),
                reason: "nothing was measured before the upgrade".to_owned(),
            });
        };
        let now = cx.bounded("look for losses", self.observe(cx)).await??;
        let losses = losses(&baseline, &now);
        Ok(if losses.is_empty() {
            Safety::Safe
        } else {
            Safety::SafeWithLoss { losses }
        })
    }

    async fn execute(&self, cx: &UpgradeContext, request: &RollbackRequest) -> Result<()> {
        if self.baseline().is_none() {
            return Err(Error::new(
                ErrorKind::Refused,
                "nothing was measured before the upgrade",
            )
            .with_hint("call `prepare` before the first change"));
        }
        cx.bounded("look for the marker", self.guard(cx)).await??;
        // Nothing is begun that cannot be ended.
        if let Safety::Unsafe { boundary, reason } = self.check(cx, request).await? {
            return Err(Error::new(
                ErrorKind::Rollback,
                format!("no way back across {boundary}"),
            )
            .with_context("reason", reason));
        }
        for id in request.applied.iter().rev() {
            let Some(migration) = self.find(id) else {
                continue;
            };
            migration.revert(cx).await.map_err(|source| {
                Error::new(
                    ErrorKind::Rollback,
                    format!("migration `{id}` was not reverted"),
                )
                .with_source(source)
                .with_hint("those after it are; mend its down and call it again")
            })?;
        }
        Ok(())
    }

    async fn confirm(&self, cx: &UpgradeContext) -> Result<Verdict> {
        match self.baseline() {
            Some(baseline) => super::confirm(cx, &self.observer, &baseline).await,
            None => Ok(Verdict::Inconclusive(
                "nothing was measured before the upgrade".to_owned(),
            )),
        }
    }

    async fn finalize(&self, _: &UpgradeContext) -> Result<()> {
        self.keep(None);
        Ok(())
    }
}

/// What the older schema has no place for.
fn losses(baseline: &Observation, now: &Observation) -> Vec<String> {
    let mut losses = Vec::new();
    for (name, table) in now.tables.iter().filter(|(_, table)| table.rows > 0) {
        match baseline.tables.get(name) {
            None => losses.push(format!("the {} rows of {name}, which is new", table.rows)),
            Some(before) => {
                let new: Vec<&str> = table
                    .columns
                    .keys()
                    .filter(|column| !before.columns.contains_key(*column))
                    .map(String::as_str)
                    .collect();
                if !new.is_empty() {
                    losses.push(format!("the values of {name} in {}", new.join(", ")));
                }
            }
        }
    }
    losses
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::observation::TableState;

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
        assert_eq!(
            losses(&before, &now),
            ["the values of a in y", "the 2 rows of c, which is new"]
        );
    }
}
