//! Rollback by renaming: a kept copy takes the place of the upgraded database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tracing::Instrument;

use super::target::Target;
use super::{Loss, LossKind, Prepared, Rollback, RollbackRequest, RollbackScope, Safety};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Scope};
use crate::outcome::Outcome;
use crate::postgres::database::undoing::{joined, or_undone};
use crate::postgres::database::{CopyStrategy, Leftover, Marker, MarkerKind, close, derived_name};
use crate::postgres::sql::quote_ident;
use crate::postgres::{Database, Observer};
use crate::subject::TableRef;
use crate::validator::Verdict;

/// How long sessions may take to end where the context has no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rollback by a kept copy of the database.
///
/// [`prepare`](Rollback::prepare) copies the database; to do so it ends the sessions of the
/// database and lets nobody in while it copies. The copy is closed to connections.
/// [`execute`](Rollback::execute) renames, in one transaction: the time it takes does not grow
/// with the data. Whoever connects during the rename waits until it has ended and is then turned
/// away once, because the name belongs to the other database now. The rename is never left half
/// done, and the database is never left closed to connections. Whatever was written after the copy
/// is lost, and [`check`](Rollback::check) names the tables. The upgraded database is kept aside
/// until [`confirm`](Rollback::confirm) has passed.
///
/// What would make the server refuse is looked for before a session is ended: missing rights,
/// sessions that the role may not end, prepared transactions, subscriptions, logical slots.
///
/// A database that this library did not make has to be adopted by name. It is then locked
/// against other operations from `prepare` to [`finalize`](Rollback::finalize), or until the
/// strategy is dropped.
#[derive(Debug, Default)]
pub struct SnapshotSwap {
    target: Target,
    observer: Observer,
    /// One act at a time, also of those that go on when nobody waits for them any more.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What `prepare` keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The copy.
    name: String,
    /// Its number on the server, which it keeps under another name: the database with this number is back.
    oid: i64,
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

    /// Makes a copy, in the place of one that the same run has made.
    async fn keep(&self, cx: &UpgradeContext, live: Database) -> Result<Kept> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let mut admin = live.connect_maintenance().await?;
        live.guard(&mut admin, "copied").await?;
        live.refuse_obstacles(&mut admin, "copied", true).await?;
        let copy = live.sibling(derived_name(live.name(), &format!("kept_{}", cx.run_id())));
        for earlier in [&copy, &live.sibling(aside(&live, cx))] {
            earlier.drop(&mut admin).await?;
        }
        let pid = sqlx::query_scalar("select pg_catalog.pg_backend_pid()")
            .fetch_one(&mut admin)
            .await
            .map_err(|source| live.failed("copy", source))?;

        let work = keep(cx.clone(), admin, live, copy.clone(), self.observer.clone());
        let undo = async move {
            let undone = remove(&copy, pid).await;
            drop(turn);
            undone
        };
        or_undone(cx, "keep a copy", work, undo).await
    }

    /// Takes over a copy that a run has kept and left, in the place of
    /// [`prepare`](Rollback::prepare): from here on [`check`](Rollback::check),
    /// [`execute`](Rollback::execute), [`confirm`](Rollback::confirm) and
    /// [`finalize`](Rollback::finalize) treat it as a copy that `prepare` has made.
    /// [`Database::leftovers`] lists what there is.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when it keeps no state, when its run is under way, when something
    /// else has its name now, or when another operation has the lock of the database.
    pub async fn adopt(&self, cx: &UpgradeContext, leftover: &Leftover) -> Result<Prepared> {
        if leftover.kind != Some(MarkerKind::Kept) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "database `{}` keeps no state to roll back to",
                    leftover.name
                ),
            )
            .with_hint("remove it where nobody needs it"));
        }
        let live = self.target.lock(cx).await?;
        let turn = self.turn.lock().await;
        let adopting = async {
            let mut admin = live.connect_maintenance().await?;
            live.guard(&mut admin, "rolled back").await?;
            live.still(&mut admin, leftover, "adopted").await?;
            let copy = live.sibling(&leftover.name);
            let marker = copy.marker(&mut admin).await?;
            let comment = marker.and_then(|marker| marker.comment);
            let marker = Marker::new(MarkerKind::Kept, cx.run_id().as_str())
                .with_comment(comment.clone())
                .beside(&live);
            let sql = copy.comment_sql(Some(&marker.to_comment()));
            copy.act(&mut admin, "mark", &sql).await?;
            measure(cx, admin, &live, &copy, comment, &self.observer).await
        };
        let kept = cx.bounded("adopt a kept copy", adopting).await??;
        drop(turn);
        Prepared::new(&kept)
    }

    async fn swap(&self, cx: &UpgradeContext, kept: Kept) -> Result<()> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let live = self.target.locked(cx).await?;
        let mut admin = live.connect_maintenance().await?;
        let copy = live.sibling(&kept.name);
        if !copy.exists(&mut admin).await? {
            if oid(&live, &mut admin).await? == Some(kept.oid) {
                return live.replaced().await; // An earlier call has come this far.
            }
            return Err(Error::new(
                ErrorKind::Rollback,
                format!(
                    "the kept copy `{}` of database `{}` is missing",
                    kept.name,
                    live.name()
                ),
            )
            .with_hint("restore it from a backup; the upgraded database was not touched"));
        }
        copy.guard(&mut admin, "renamed").await?;
        live.guard(&mut admin, "renamed").await?;
        live.refuse_obstacles(&mut admin, "renamed", false).await?;
        let renamer = Renamer::of(&live).await?;
        // From here on it goes on to its end, whoever waits for it.
        let renaming = rename(cx.clone(), live, kept, admin, renamer);
        let task = async move {
            let renamed = renaming.await;
            drop(turn);
            renamed
        };
        joined(tokio::spawn(task.in_current_span())).await
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
                    "what was written to {name} since the copy, if anything was: the table is missing or has another name now"
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

    async fn prepare(&self, cx: &UpgradeContext, _: &RollbackScope) -> Result<Prepared> {
        // Before the lock: who may not do it at all need not wait for others.
        let live = self.target.live(cx)?;
        let guard = async {
            let mut admin = live.connect_maintenance().await?;
            live.guard(&mut admin, "copied").await?;
            close(admin).await;
            Ok::<_, Error>(())
        };
        cx.bounded("look for the marker", guard).await??;
        let live = self.target.lock(cx).await?;
        let kept = self.keep(cx, live).await;
        if kept.is_err() {
            self.target.release().await;
        }
        Prepared::new(&kept?)
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Safety> {
        let kept: Kept = prepared.read()?;
        let live = self.target.live(cx)?;
        let missing = |reason: &str| Safety::Unsafe {
            boundary: format!("database {}", live.name()),
            reason: reason.to_owned(),
        };
        let mut admin = live.connect_maintenance().await?;
        let exists = live.sibling(&kept.name).exists(&mut admin).await?
            || oid(&live, &mut admin).await? == Some(kept.oid);
        close(admin).await;
        if !exists {
            return Ok(missing("the copy that was kept is missing"));
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

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Outcome> {
        let kept = prepared.read()?;
        let swapped = cx
            .bounded("swap the databases", self.swap(cx, kept))
            .await?;
        Outcome::judged(swapped.map(|()| Outcome::Done), &[ErrorKind::Rollback])
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        let kept: Kept = prepared.read()?;
        let none = BTreeMap::new();
        let verdict =
            super::confirm::confirm(cx, &self.observer, &kept.baseline, &none, &BTreeMap::new())
                .await?;
        if verdict.is_pass() {
            let live = self.target.locked(cx).await?;
            let mut admin = live.connect_maintenance().await?;
            live.sibling(&kept.aside).drop(&mut admin).await?;
            close(admin).await;
        }
        Ok(verdict)
    }

    async fn finalize(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        let kept: Kept = prepared.read()?;
        let _turn = self.turn.lock().await;
        let live = self.target.locked(cx).await?;
        let mut admin = live.connect_maintenance().await?;
        for name in [&kept.name, &kept.aside] {
            live.sibling(name).drop(&mut admin).await?;
        }
        close(admin).await;
        self.target.release().await;
        Ok(())
    }
}

/// The number of a database on its server, if there is one of that name.
async fn oid(database: &Database, admin: &mut PgConnection) -> Result<Option<i64>> {
    sqlx::query_scalar("select oid::int8 from pg_catalog.pg_database where datname = $1")
        .bind(database.name())
        .fetch_optional(admin)
        .await
        .map_err(|source| database.failed("look up", source))
}

/// Where the upgraded database goes when the copy takes its place.
fn aside(live: &Database, cx: &UpgradeContext) -> String {
    derived_name(live.name(), &format!("aside_{}", cx.run_id()))
}

/// Makes the copy and measures it.
async fn keep(
    cx: UpgradeContext,
    mut admin: PgConnection,
    live: Database,
    copy: Database,
    observer: Observer,
) -> Result<Kept> {
    let comment = live.comment(&mut admin).await?;
    let marker = Marker::new(MarkerKind::Kept, cx.run_id().as_str())
        .with_comment(comment.clone())
        .beside(&live);
    let within = cx.remaining().unwrap_or(PATIENCE);
    let strategy = CopyStrategy::ServerDefault;
    live.copy_as(&mut admin, copy.name(), &marker, strategy, within, false)
        .await?;
    measure(&cx, admin, &live, &copy, comment, &observer).await
}

/// Measures a copy.
async fn measure(
    cx: &UpgradeContext,
    mut admin: PgConnection,
    live: &Database,
    copy: &Database,
    comment: Option<String>,
    observer: &Observer,
) -> Result<Kept> {
    let missing = || copy.failed("find", sqlx::Error::RowNotFound);
    let number = oid(copy, &mut admin).await?.ok_or_else(missing)?;
    let mut connection = copy.enter_closed(&mut admin).await?;
    let baseline = observer.observe(&mut connection, &Scope::All).await?;
    close(connection).await;
    close(admin).await;
    Ok(Kept {
        name: copy.name().to_owned(),
        oid: number,
        aside: aside(live, cx),
        comment,
        baseline,
    })
}

/// Drops a copy that is not complete, after the session that was making it has ended.
async fn remove(copy: &Database, maker: i32) -> Result<()> {
    let mut admin = copy.connect_maintenance().await?;
    let left = |error: Error| {
        Error::new(
            ErrorKind::Rollback,
            format!(
                "an incomplete copy, database `{}`, was not removed",
                copy.name()
            ),
        )
        .with_source(error)
        .with_hint("drop it: nobody needs it")
    };
    end_session(&mut admin, maker)
        .await
        .map_err(|source| left(copy.failed("end the session that makes", source)))?;
    copy.drop(&mut admin).await.map_err(left)?;
    close(admin).await;
    Ok(())
}

/// Ends one session of this role, and waits until it has ended.
async fn end_session(admin: &mut PgConnection, pid: i32) -> Result<(), sqlx::Error> {
    let sql = "select count(pg_catalog.pg_terminate_backend(pid)) \
         from pg_catalog.pg_stat_activity where pid = $1 and usename = current_user";
    while sqlx::query_scalar::<_, i64>(sql)
        .bind(pid)
        .fetch_one(&mut *admin)
        .await?
        > 0
    {
        tokio::time::sleep(Duration::from_millis(2)).await; // poll, within the deadline
    }
    Ok(())
}

/// The session that renames: the one that holds the lock, where there is one, so that nothing is
/// renamed without it.
enum Renamer {
    Locked(OwnedMutexGuard<Option<PgConnection>>),
    Own(Box<PgConnection>),
}

impl Renamer {
    async fn of(live: &Database) -> Result<Self> {
        Ok(match live.operation() {
            Some(operation) => Self::Locked(operation.session().await?),
            None => Self::Own(Box::new(live.connect_maintenance().await?)),
        })
    }

    async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let session = match self {
            Self::Locked(guard) => guard.as_mut(),
            Self::Own(session) => Some(&mut **session),
        };
        let session = session.ok_or(sqlx::Error::PoolClosed)?;
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        session.execute(sql).await.map(drop)
    }
}

/// Puts the copy in the place of the database, which is set aside.
///
/// All of it is one message to the server, and so one transaction: whatever happens to this
/// process, it is done or it is not. Its first statement locks the database, so that whoever
/// connects waits until the end, and the server waits up to five seconds for the sessions that
/// are there. Another session ends them during that time.
async fn rename(
    cx: UpgradeContext,
    live: Database,
    kept: Kept,
    mut admin: PgConnection,
    mut renamer: Renamer,
) -> Result<()> {
    let (name, copy, aside) = (
        quote_ident(live.name()),
        quote_ident(&kept.name),
        quote_ident(&kept.aside),
    );
    let marker = Marker::new(MarkerKind::Aside, cx.run_id().as_str()).beside(&live);
    let statements = [
        format!("alter database {name} rename to {aside}"),
        live.sibling(&kept.aside)
            .comment_sql(Some(&marker.to_comment())),
        format!("alter database {aside} allow_connections false"),
        format!("alter database {copy} rename to {name}"),
        live.comment_sql(kept.comment.as_deref()),
        format!("alter database {name} allow_connections true"),
    ]
    .join("; ");
    let failed = |source: Error| {
        Error::new(
            ErrorKind::Rollback,
            format!("database `{}` was not swapped", live.name()),
        )
        .with_source(source)
        .with_hint("nothing is lost: both databases are there and open as before, call it again")
    };
    let deadline = Instant::now() + cx.remaining().unwrap_or(PATIENCE);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would be: without end.
        let left = left.as_millis().max(1);
        let batch = format!(
            "set local statement_timeout = {left}; set local lock_timeout = {left}; {statements}"
        );
        let renaming = renamer.run(&batch);
        tokio::pin!(renaming);
        let (renamed, ended) = loop {
            let ending = async {
                let ended = live.end_sessions(&mut admin, &[]).await;
                tokio::time::sleep(Duration::from_millis(5)).await; // poll
                ended
            };
            tokio::select! {
                biased;
                renamed = &mut renaming => break (renamed, Ok(0)),
                ended = ending => if ended.is_err() {
                    // The server answers within seconds, and may have succeeded all the same.
                    break (renaming.await, ended);
                },
            }
        };
        match renamed {
            Ok(()) => break,
            Err(sqlx::Error::Database(error))
                if ended.is_ok()
                    && Instant::now() < deadline
                    // In use, or locked by an act that had begun.
                    && matches!(error.code().as_deref(), Some("55006" | "55P03")) => {}
            Err(source) => {
                ended.map_err(failed)?;
                return Err(failed(live.failed("rename", source)));
            }
        }
    }
    drop(renamer);
    live.replaced().await?;
    live.is_no_copy(&mut admin).await?;
    close(admin).await;
    Ok(())
}
