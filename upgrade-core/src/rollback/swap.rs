//! Going back by name: a kept copy takes the place of the upgraded database.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{Loss, LossKind, Rollback, RollbackRequest, Safety};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Scope};
use crate::postgres::database::{CopyStrategy, Marker, MarkerKind, close, derived_name};
use crate::postgres::sql::quote_ident;
use crate::postgres::{Database, Observer};
use crate::subject::TableRef;
use crate::validator::Verdict;

/// How long sessions may take to end where the context has no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rollback by a kept copy of the database.
///
/// [`prepare`](Rollback::prepare) copies the database; to do so it ends the sessions of the
/// database and lets nobody in while it copies. [`execute`](Rollback::execute) renames: the time
/// it takes does not grow with the data. Whatever was written after the copy is lost, and
/// [`check`](Rollback::check) names the tables. The upgraded database is kept aside until
/// [`confirm`](Rollback::confirm) has passed.
///
/// A database that this library did not make has to be handed over by name.
#[derive(Debug, Default)]
pub struct SnapshotSwap {
    handed_over: Option<String>,
    observer: Observer,
    kept: Mutex<Option<Kept>>,
}

/// What `prepare` keeps.
#[derive(Debug, Clone)]
struct Kept {
    /// The copy.
    name: String,
    /// Where the upgraded database goes when the copy takes its place.
    aside: String,
    /// The comment of the database, which copies do not inherit.
    comment: Option<String>,
    baseline: Observation,
}

impl SnapshotSwap {
    /// A rollback by kept copy, for databases that this library made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it rename and drop the database of that name, although this library did not make it.
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

    fn live(&self, cx: &UpgradeContext) -> Result<Database> {
        let database = cx.database()?;
        match &self.handed_over {
            Some(name) => database.handed_over(name),
            None => Ok(database),
        }
    }

    fn kept(&self) -> Option<Kept> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, kept: Option<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    async fn drop_kept(&self, admin: &mut PgConnection, live: &Database) -> Result<()> {
        if let Some(kept) = self.kept() {
            live.sibling(&kept.name).drop(admin).await?;
            live.sibling(&kept.aside).drop(admin).await?;
            self.keep(None);
        }
        Ok(())
    }

    async fn copy(&self, cx: &UpgradeContext) -> Result<()> {
        let live = self.live(cx)?;
        let mut admin = live.connect_maintenance().await?;
        self.drop_kept(&mut admin, &live).await?;
        let comment = live.comment(&mut admin).await?;
        let name = derived_name(live.name(), &format!("kept_{}", cx.run_id()));
        let marker =
            Marker::new(MarkerKind::Kept, cx.run_id().as_str()).with_comment(comment.clone());
        // A copy of an earlier call that did not come to its end.
        live.sibling(&name).drop(&mut admin).await?;
        let within = cx.remaining().unwrap_or(PATIENCE);
        let copy = live
            .copy(
                &mut admin,
                &name,
                &marker,
                CopyStrategy::ServerDefault,
                within,
            )
            .await?;
        let mut connection = copy.connect().await?;
        let baseline = self.observer.observe(&mut connection, &Scope::All).await?;
        close(connection).await;
        // From here on nobody can change it by mistake.
        let shut = format!(
            "alter database {} allow_connections false",
            quote_ident(&name)
        );
        copy.act(&mut admin, "shut", &shut).await?;
        let aside = derived_name(live.name(), &format!("aside_{}", cx.run_id()));
        self.keep(Some(Kept {
            name,
            aside,
            comment,
            baseline,
        }));
        close(admin).await;
        Ok(())
    }

    async fn swap(&self, cx: &UpgradeContext) -> Result<()> {
        let Some(kept) = self.kept() else {
            return Err(Error::new(
                ErrorKind::Refused,
                "no copy was kept, so there is none to go back to",
            )
            .with_hint("call `prepare` before the first change"));
        };
        let live = self.live(cx)?;
        let mut admin = live.connect_maintenance().await?;
        let copy = live.sibling(&kept.name);
        let aside = live.sibling(&kept.aside);
        if !copy.exists(&mut admin).await? {
            if aside.exists(&mut admin).await? && live.exists(&mut admin).await? {
                return Ok(()); // An earlier call has come this far.
            }
            return Err(Error::new(
                ErrorKind::Rollback,
                format!(
                    "the kept copy `{}` of database `{}` is gone",
                    kept.name,
                    live.name()
                ),
            )
            .with_hint("restore it from a backup; the upgraded database was not touched"));
        }
        live.guard(&mut admin, "renamed").await?;
        let failed = |source| {
            Error::new(
                ErrorKind::Rollback,
                format!("database `{}` was not swapped", live.name()),
            )
            .with_source(source)
            .with_hint("nothing is lost: both databases are there, call it again")
        };
        let name = quote_ident(live.name());
        // The fence comes first: who is thrown out must not come back before the swap.
        live.act(
            &mut admin,
            "shut",
            &format!("alter database {name} allow_connections false"),
        )
        .await?;
        live.terminate_sessions(&mut admin, cx.remaining().unwrap_or(PATIENCE))
            .await?;
        let marker = Marker::new(MarkerKind::Aside, cx.run_id().as_str());
        let statements = [
            format!(
                "alter database {name} rename to {}",
                quote_ident(&kept.aside)
            ),
            aside.comment_sql(Some(&marker.to_comment())),
            format!(
                "alter database {} rename to {name}",
                quote_ident(&kept.name)
            ),
            live.comment_sql(kept.comment.as_deref()),
            format!("alter database {name} allow_connections true"),
        ];
        let mut transaction = admin.begin().await.map_err(failed)?;
        for statement in statements {
            transaction
                .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        close(admin).await;
        Ok(())
    }

    /// The tables that are not what they were when the copy was made.
    async fn losses(&self, cx: &UpgradeContext, baseline: &Observation) -> Result<Vec<Loss>> {
        let mut connection = cx.connect().await?;
        let columns = baseline.shared_columns(baseline);
        let now = self
            .observer
            .observe(&mut connection, &Scope::Columns(columns))
            .await?;
        close(connection).await;
        let mut losses = Vec::new();
        for (name, then) in &baseline.tables {
            let now = now.tables.get(name);
            let message = match now {
                Some(now) if now.rows != then.rows => format!(
                    "what was written to {name} since the copy ({} rows then, {} now)",
                    then.rows, now.rows
                ),
                Some(now) if now.columns == then.columns && now.sum == then.sum => continue,
                Some(now) if now.columns == then.columns => {
                    format!("changes to rows of {name} since the copy")
                }
                // What users wrote cannot be told from what the migrations did.
                _ if then.rows == 0 => continue,
                Some(_) => format!(
                    "changes to rows of {name} since the copy, if there are any: it has other columns now"
                ),
                None => format!(
                    "what was written to {name} since the copy, if anything was: it is gone or has another name now"
                ),
            };
            let loss = Loss::new(LossKind::Writes, TableRef::new(name), message);
            let more = now.and_then(|now| now.rows.checked_sub(then.rows));
            losses.push(match more {
                Some(rows) if rows > 0 => loss.with_rows(rows),
                _ => loss,
            });
        }
        Ok(losses)
    }
}

#[async_trait]
impl Rollback for SnapshotSwap {
    fn name(&self) -> &str {
        "snapshot swap"
    }

    fn requires_reversible(&self) -> bool {
        false
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        cx.bounded("keep a copy", self.copy(cx)).await?
    }

    async fn check(&self, cx: &UpgradeContext, _: &RollbackRequest) -> Result<Safety> {
        let live = self.live(cx)?;
        let missing = |reason: &str| Safety::Unsafe {
            boundary: format!("database {}", live.name()),
            reason: reason.to_owned(),
        };
        let Some(kept) = self.kept() else {
            return Ok(missing("no copy was kept before the upgrade"));
        };
        let mut admin = live.connect_maintenance().await?;
        let exists = live.sibling(&kept.name).exists(&mut admin).await?;
        close(admin).await;
        if !exists {
            return Ok(missing("the copy that was kept is gone"));
        }
        let losses = cx
            .bounded("look for losses", self.losses(cx, &kept.baseline))
            .await??;
        Ok(if losses.is_empty() {
            Safety::Safe
        } else {
            Safety::SafeWithLoss { losses }
        })
    }

    async fn execute(&self, cx: &UpgradeContext, _: &RollbackRequest) -> Result<()> {
        cx.bounded("swap the databases", self.swap(cx)).await?
    }

    async fn confirm(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let Some(kept) = self.kept() else {
            return Ok(Verdict::Inconclusive(
                "nothing was measured before the upgrade".to_owned(),
            ));
        };
        let verdict = super::confirm(cx, &self.observer, &kept.baseline, &BTreeMap::new()).await?;
        let live = self.live(cx)?;
        if verdict.is_pass() {
            let mut admin = live.connect_maintenance().await?;
            live.sibling(&kept.aside).drop(&mut admin).await?;
            close(admin).await;
        }
        Ok(verdict)
    }

    async fn finalize(&self, cx: &UpgradeContext) -> Result<()> {
        let live = self.live(cx)?;
        let mut admin = live.connect_maintenance().await?;
        self.drop_kept(&mut admin, &live).await?;
        close(admin).await;
        Ok(())
    }
}
