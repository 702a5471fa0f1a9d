//! One database, copied to a running server of a newer major.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::check::{self, Obstacle};
use super::closure::{Closure, setting};
use super::tools::Tools;
use super::{compare, roles, rows};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::postgres::catalog::server_major;
use crate::postgres::database::undoing::or_undone;
use crate::postgres::database::{UNFINISHED_LIMIT, close};
use crate::postgres::sql::quote_ident;
use crate::postgres::{Database, Observer};
use crate::rollback::{Loss, LossKind, Safety};

/// Takes away what 17.12 keeps among the options of each column, a stamp that only it understands:
/// the tools of other versions write it down like an option that somebody has set.
const STAMPS: &str = r"sed --regexp-extended \
    -e '/^ALTER .* SET \(pg_attver=[0-9]+\);$/d' \
    -e 's/^(ALTER .* SET \()pg_attver=[0-9]+, /\1/' \
    -e 's/^(ALTER .* SET \(.*), pg_attver=[0-9]+/\1/'";

/// How many tables are copied at the same time.
const SESSIONS: usize = 4;

/// How long sessions may take to end where the context has no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way of one database to a running server of a newer major, and back.
///
/// [`run`](Self::run) makes the old database read-only (its sessions are ended, and new ones write
/// nothing unless they set that aside on purpose), copies roles, schema, rows, sequences and large
/// objects to a database of the same name, and compares the two. The old database stays as it is,
/// and read-only: whoever writes to it from then on gets an error instead of a loss.
/// [`go_back`](Self::go_back) opens it again, unless something was written to the new one that
/// would be lost.
///
/// The old database has to be made by this library or [adopted](Database::adopted).
///
/// ```no_run
/// # use upgrade_core::postgres::{Database, server::ServerBinaries};
/// # async fn example(old: Database, new_server: sqlx::postgres::PgConnectOptions, binaries: &ServerBinaries)
/// # -> Result<(), upgrade_core::Error> {
/// use upgrade_core::UpgradeContext;
/// use upgrade_core::postgres::major::{LogicalCopy, Tools};
///
/// let cx = UpgradeContext::new("15", "17");
/// let copy = LogicalCopy::new(old, &new_server, Tools::local(binaries));
/// for obstacle in copy.check(&cx).await? {
///     eprintln!("{obstacle}");
/// }
/// let copied = copy.run(&cx).await?;
/// assert!(copied.findings.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LogicalCopy {
    old: Arc<Closure>,
    new: Arc<Closure>,
    tools: Tools,
    observer: Observer,
}

/// What a [`LogicalCopy`] came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The database on the newer server.
    pub database: Database,
    /// How many rows were copied.
    pub rows: u64,
    /// Of how many tables.
    pub tables: usize,
    /// How long the old database was read-only until the new one had been compared; it still is.
    pub read_only: Duration,
    /// What differs between the two; nothing, if all went well.
    pub findings: Vec<Finding>,
}

impl LogicalCopy {
    /// A copy of a database to the server that these options lead to, whose programs do the work
    /// that needs some: `pg_dump` and `psql` of the newer major.
    pub fn new(old: Database, new_server: &PgConnectOptions, tools: Tools) -> Self {
        let new = Database::new(new_server, old.name());
        Self {
            old: Arc::new(Closure::new(old)),
            new: Arc::new(Closure::new(new)),
            tools,
            observer: Observer::default(),
        }
    }

    /// Compares in another way than by default.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// What stands in the way. It changes nothing.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when one of the servers does not answer.
    pub async fn check(&self, cx: &UpgradeContext) -> Result<Vec<Obstacle>> {
        cx.bounded("look for obstacles", self.obstacles()).await?
    }

    async fn obstacles(&self) -> Result<Vec<Obstacle>> {
        let (old_database, new_database) = (self.old.database(), self.new.database());
        let mut old = old_database.connect().await?;
        let mut new = new_database.connect_maintenance().await?;
        let majors = (server_major(&mut old).await?, server_major(&mut new).await?);
        let mut obstacles: Vec<Obstacle> = check::judge_majors(majors.0, majors.1)
            .into_iter()
            .collect();
        if new_database.exists(&mut new).await? {
            obstacles.push(Obstacle::new(
                format!(
                    "database `{}` is on the newer server already",
                    new_database.name()
                ),
                "drop or rename it there: a copy replaces nothing",
            ));
        }
        let inventory = check::inventory(&mut old).await?;
        let offer = check::offer(&mut new).await?;
        obstacles.extend(check::judge(&inventory, &offer));
        close(old).await;
        close(new).await;
        Ok(obstacles)
    }

    /// Copies and compares. Where it fails, ends at the deadline or is dropped, the old database
    /// takes writes again as its owner had it and the new one is removed; roles that were made
    /// stay. The old database is locked against other operations until the end.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) with every obstacle, or when the old database is neither the
    /// library's nor adopted, or when another operation is under way on it: nothing is changed
    /// then. [`Database`](ErrorKind::Database) with what a server said;
    /// [`Rollback`](ErrorKind::Rollback) with the statement that opens the old database where it
    /// could not be opened.
    pub async fn run(&self, cx: &UpgradeContext) -> Result<Copied> {
        check::refuse(&self.check(cx).await?)?;
        let old = self.locked(cx).await?;
        let begun = Instant::now();
        let (this, at) = (self.clone(), cx.clone());
        let work = async move {
            this.old.close(&old, within(&at)).await?;
            let copied = this.copy(&at).await?;
            old.release().await;
            Ok(copied)
        };
        let this = self.clone();
        // Users first.
        let undo = async move {
            let opened = this.old.undo().await;
            let removed = this.remove_new().await;
            opened.and(removed)
        };
        let (rows, tables, findings) = or_undone(cx, "copy the database", work, undo).await?;
        Ok(Copied {
            database: self.new.database().clone(),
            rows,
            tables,
            read_only: begun.elapsed(),
            findings,
        })
    }

    /// The old database, locked against other operations, if it may be touched at all.
    async fn locked(&self, cx: &UpgradeContext) -> Result<Database> {
        let old = self.old.database().clone();
        let locking = async {
            let mut admin = old.connect_maintenance().await?;
            old.guard(&mut admin, "made read-only").await?;
            close(admin).await;
            match old.operation() {
                Some(_) => Ok(old),
                None => old.locked_for(cx.run_id()).await,
            }
        };
        cx.bounded("lock the database", locking).await?
    }

    async fn copy(&self, cx: &UpgradeContext) -> Result<(u64, usize, Vec<Finding>)> {
        let (old, new) = (self.old.database(), self.new.database());
        let roles = async {
            let mut from = old.connect().await?;
            let mut to = new.connect_maintenance().await?;
            roles::copy(&mut from, &mut to).await?;
            close(from).await;
            close(to).await;
            Ok::<_, Error>(())
        };
        cx.bounded("copy the roles", roles).await??;

        let mut keeper = rows::reader(old, None).await?;
        let snapshot: String = sqlx::query_scalar("select pg_export_snapshot()")
            .fetch_one(&mut keeper)
            .await?;
        // The setting that closes the old database is part of it, and must not stop this session.
        let psql = "PGOPTIONS='-c default_transaction_read_only=off' \
            psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --output=/dev/null --dbname=\"$NEW\"";
        let dump = |options: &str, edits: &str| {
            format!(
                "set -o pipefail; pg_dump --snapshot='{snapshot}' --no-subscriptions {options} \
                 --dbname=\"$OLD\" | {STAMPS}{edits} | {psql}"
            )
        };
        let limit: i32 =
            sqlx::query_scalar("select datconnlimit from pg_database where datname = $1")
                .bind(old.name())
                .fetch_one(&mut keeper)
                .await?;
        // Until the copy is complete, its limit says that this library is making it.
        let marked = format!(
            r" -e '0,/^CREATE DATABASE /s/^(CREATE DATABASE .*);$/\1 CONNECTION LIMIT = {UNFINISHED_LIMIT};/' \
             -e '/^ALTER DATABASE .* CONNECTION LIMIT = {limit};$/d'"
        );
        let maintenance = new.sibling(crate::postgres::database::MAINTENANCE);
        self.tools
            .run(
                cx,
                "copy the schema",
                &dump("--section=pre-data --create", &marked),
                old,
                &maintenance,
            )
            .await?;
        self.new.open(self.old.before().flatten()).await?;
        let copied = cx.bounded("copy the rows", async {
            let copied = rows::copy(old, &snapshot, new, SESSIONS).await?;
            rows::copy_sequences(old, &snapshot, new).await?;
            Ok::<_, Error>(copied)
        });
        let (rows, tables) = copied.await??;
        if has_large_objects(&mut keeper).await? {
            let script = dump("--section=data --exclude-table-data='*.*'", "");
            self.tools
                .run(cx, "copy the large objects", &script, old, new)
                .await?;
        }
        self.tools
            .run(
                cx,
                "make the indexes",
                &dump("--section=post-data", ""),
                old,
                new,
            )
            .await?;
        close(keeper).await;
        let analyze = async {
            let mut session = new.connect().await?;
            sqlx::raw_sql("analyze").execute(&mut session).await?;
            close(session).await;
            compare(old, new, &self.observer).await
        };
        let findings = cx.bounded("compare the databases", analyze).await??;
        let mut admin = new.connect_maintenance().await?;
        let name = quote_ident(new.name());
        let finished = format!("alter database {name} connection limit {limit}");
        new.act(&mut admin, "finish", &finished).await?;
        close(admin).await;
        Ok((rows, tables, findings))
    }

    /// Whether the rollback is possible: what was written to the new database since the copy would
    /// be lost.
    ///
    /// # Errors
    /// Any kind, when it could not tell.
    pub async fn way_back(&self, cx: &UpgradeContext) -> Result<Safety> {
        let differences = cx
            .bounded(
                "look for losses",
                compare(self.old.database(), self.new.database(), &self.observer),
            )
            .await??;
        if differences.is_empty() {
            return Ok(Safety::Safe);
        }
        let losses = differences
            .iter()
            .map(|finding| {
                let message = format!("{} {}", finding.subject, finding.message);
                Loss::new(LossKind::Writes, finding.subject.clone(), message)
            })
            .collect();
        Ok(Safety::SafeWithLoss { losses })
    }

    /// Returns to the old database: it takes writes again, and the new one takes none any more.
    /// Nothing else is done to the new one; drop it when nobody needs it any longer.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) when something would be lost, which is named; both databases
    /// are then as they were.
    pub async fn go_back(&self, cx: &UpgradeContext) -> Result<()> {
        self.back(cx, false).await.map(drop)
    }

    /// As [`Self::go_back`], whatever is lost; the answer names it. The new database still has it.
    ///
    /// # Errors
    /// Any kind, when it could not tell what is lost or could not open the old database.
    pub async fn go_back_with_losses(&self, cx: &UpgradeContext) -> Result<Safety> {
        self.back(cx, true).await
    }

    async fn back(&self, cx: &UpgradeContext, with_losses: bool) -> Result<Safety> {
        let old = self.locked(cx).await?;
        let (this, at) = (self.clone(), cx.clone());
        let work = async move {
            let new = this.new.database();
            let new = new.clone().adopted(new.name())?;
            // The copy got the setting that the owner of the old one had; another process may have
            // made it, so it is the only place where that is known.
            let mut admin = new.connect_maintenance().await?;
            let owners = setting(&new, &mut admin).await?;
            close(admin).await;
            // First, so that nothing is written between the look and the rollback.
            this.new.close(&new, within(&at)).await?;
            let safety = this.way_back(&at).await?;
            if safety != Safety::Safe && !with_losses {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!("the rollback from major {} is open only {safety}", at.to()),
                )
                .with_hint("save what would be lost, or call `go_back_with_losses`"));
            }
            let mut admin = old.connect_maintenance().await?;
            old.guard(&mut admin, "made writable").await?;
            close(admin).await;
            let before = this.old.before();
            // A database that is closed already was closed by an earlier call, not by its owner.
            let before = before.unwrap_or(owners.filter(|value| value != "on"));
            this.old.open(before).await?;
            old.release().await;
            Ok(safety)
        };
        let this = self.clone();
        let undo = async move { this.new.undo().await };
        or_undone(cx, "return to the old database", work, undo).await
    }

    /// Drops what this run has made on the newer server. A database of the same name that somebody
    /// else has made there since then stays.
    async fn remove_new(&self) -> Result<()> {
        let new = self.new.database();
        let mut admin = new.connect_maintenance().await?;
        if new.is_unfinished(&mut admin).await? {
            new.drop(&mut admin).await?;
        }
        close(admin).await;
        Ok(())
    }
}

/// How long sessions may take to end.
fn within(cx: &UpgradeContext) -> Duration {
    cx.remaining().unwrap_or(PATIENCE)
}

async fn has_large_objects(session: &mut PgConnection) -> Result<bool> {
    let sql = "select exists (select from pg_largeobject_metadata)";
    Ok(sqlx::query_scalar(sql).fetch_one(session).await?)
}
