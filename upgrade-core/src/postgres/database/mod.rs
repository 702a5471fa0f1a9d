//! Databases: made, copied, renamed, dropped, and only those that may be.
//!
//! A [`Database`] is a name on a server. What destroys (drop, rename, terminate) is done only to
//! databases that this library made, which their [`Marker`] proves, or that the user
//! [adopted](Database::adopted) by name, so that the library may change them.

mod copy;
mod known;
mod leftovers;
mod marker;
mod obstacles;
mod operation;
pub(crate) mod undoing;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, Executor};
use tokio::time::Instant;

pub use copy::CopyStrategy;
pub use leftovers::Leftover;
pub(crate) use leftovers::{MADE, OF};
pub use marker::{Marker, MarkerKind, UNFINISHED_LIMIT};
pub(crate) use operation::Operation;

use super::sql::{quote_ident, quote_literal};
use crate::error::{Error, ErrorKind, Result};

/// The longest name that Postgres keeps, in bytes.
pub(crate) const NAME_LIMIT: usize = 63;

/// The database to which one connects in order to make, rename or drop another one.
#[doc(hidden)]
pub const MAINTENANCE: &str = "postgres";

/// The one to which one connects where that itself is to be renamed or dropped.
const OTHER_MAINTENANCE: &str = "template1";

/// How long a server may take to let a session in; one that accepts and then says nothing would
/// else be waited for without end.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A database by its name on a server. Making the value touches nothing.
#[derive(Clone)]
pub struct Database {
    server: PgConnectOptions,
    name: String,
    adopted: bool,
    operation: Option<Arc<Operation>>,
}

impl Database {
    /// A database of that name; destructive acts need its marker.
    pub fn new(server: &PgConnectOptions, name: impl Into<String>) -> Self {
        Self {
            server: quiet(server.clone()),
            name: name.into(),
            adopted: false,
            operation: None,
        }
    }

    /// The same database, adopted: the user confirms its name, and so allows the library to rename
    /// and to drop it.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the name that is confirmed is not its name.
    pub fn adopted(mut self, confirmed: &str) -> Result<Self> {
        if confirmed != self.name {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "database `{}` was not adopted: `{confirmed}` was confirmed",
                    self.name
                ),
            )
            .with_hint("confirm it by its own name"));
        }
        self.adopted = true;
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another database on the same server.
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self {
            server: self.server.clone(),
            name: name.into(),
            adopted: false,
            operation: self.operation.clone(),
        }
    }

    /// How to connect to it.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// Connects to it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] with what the server said, or that it said nothing for half a
    /// minute.
    pub async fn connect(&self) -> Result<PgConnection> {
        let options = self.connect_options();
        let failed = Error::new(
            ErrorKind::Unavailable,
            format!(
                "no connection to database `{}` at {}",
                self.name,
                place(&self.server)
            ),
        );
        match tokio::time::timeout(CONNECT_WITHIN, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) => Err(failed
                .with_source(source)
                .with_hint("is the server up, and are user and password right?")),
            Err(_) => Err(failed.with_hint(format!(
                "it did not answer within {CONNECT_WITHIN:?}: are host and port those of a Postgres server?"
            ))),
        }
    }

    /// Connects to a database of its server from which this one can be renamed or dropped:
    /// [`MAINTENANCE`], or `template1` for that one itself. A session in `template1` is in the way of
    /// every plain `create database`, so nobody keeps one there.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_maintenance(&self) -> Result<PgConnection> {
        self.maintenance().connect().await
    }

    /// The database of [`Self::connect_maintenance`].
    fn maintenance(&self) -> Self {
        let database = match self.name == MAINTENANCE {
            true => OTHER_MAINTENANCE,
            false => MAINTENANCE,
        };
        self.sibling(database)
    }

    /// Whether it exists.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when the server cannot be asked.
    pub async fn exists(&self, admin: &mut PgConnection) -> Result<bool> {
        sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
            .bind(&self.name)
            .fetch_one(admin)
            .await
            .map_err(|source| self.failed("look up", source))
    }

    /// Its marker, if this library made it. A marker that this process has written or read is
    /// remembered: a migration that comments on its database does not make it somebody else's.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when the server cannot be asked.
    pub async fn marker(&self, admin: &mut PgConnection) -> Result<Option<Marker>> {
        let found = self.comment(admin).await?;
        let found = found.as_deref().and_then(Marker::from_comment);
        known::same_or_remembered(self, admin, found).await
    }

    /// Makes it, empty and marked.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] with what the server said; a database of that name exists, say.
    pub async fn create(&self, admin: &mut PgConnection, marker: &Marker) -> Result<()> {
        let sql = format!(
            "create database {} template template0 connection limit {UNFINISHED_LIMIT}",
            quote_ident(&self.name)
        );
        self.act(admin, "create", &sql).await?;
        self.finish(admin, marker).await
    }

    /// Writes the marker of a database that was just made, and takes the limit away that stood
    /// for it; both or none, in one round trip.
    async fn finish(&self, admin: &mut PgConnection, marker: &Marker) -> Result<()> {
        let sql = format!(
            "{}; alter database {} connection limit -1",
            self.comment_sql(Some(&marker.to_comment())),
            quote_ident(&self.name)
        );
        self.act(admin, "mark", &sql).await?;
        known::same_or_remembered(self, admin, Some(marker.clone()))
            .await
            .map(drop)
    }

    /// Replaces the marker of a database that this library made.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless it may be destroyed, [`ErrorKind::Database`] with what the
    /// server said.
    #[doc(hidden)]
    pub async fn remark(&self, admin: &mut PgConnection, marker: &Marker) -> Result<()> {
        self.guard(admin, "marked").await?;
        self.finish(admin, marker).await
    }

    /// Renames it, which no session may prevent: terminate them first.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless it may be destroyed, [`ErrorKind::Database`] with what the
    /// server said.
    pub async fn rename(&self, admin: &mut PgConnection, to: &str) -> Result<Self> {
        self.guard(admin, "renamed").await?;
        let sql = format!(
            "alter database {} rename to {}",
            quote_ident(&self.name),
            quote_ident(to)
        );
        self.act(admin, "rename", &sql).await?;
        Ok(self.sibling(to))
    }

    /// Drops it, and its sessions with it; a database that does not exist is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless it may be destroyed, [`ErrorKind::Database`] with what the
    /// server said.
    pub async fn drop(&self, admin: &mut PgConnection) -> Result<()> {
        if !self.exists(admin).await? {
            return Ok(());
        }
        self.guard(admin, "dropped").await?;
        let name = quote_ident(&self.name);
        self.act(
            admin,
            "drop",
            &format!("drop database if exists {name} with (force)"),
        )
        .await
    }

    /// Ends every session of it but the caller's, and waits until they have ended.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] unless it may be destroyed, [`ErrorKind::Timeout`] when sessions
    /// are still there after `within`.
    pub async fn terminate_sessions(
        &self,
        admin: &mut PgConnection,
        within: Duration,
    ) -> Result<()> {
        self.guard(admin, "cleared of sessions").await?;
        let deadline = Instant::now() + within;
        loop {
            let left = self.end_sessions(admin, &[]).await?;
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "{left} sessions of database `{}` did not end in {within:?}",
                        self.name
                    ),
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await; // poll
        }
    }

    /// Tells every session of it but those of these processes to end; answers how many there were.
    ///
    /// What the server runs without a user, autovacuum, is left out: a statement that needs the
    /// database without sessions ends it, and roles that are not superusers may not.
    pub(crate) async fn end_sessions(
        &self,
        admin: &mut PgConnection,
        excluded: &[i32],
    ) -> Result<i64> {
        sqlx::query_scalar(
            "select count(pg_catalog.pg_terminate_backend(pid)) \
             from pg_catalog.pg_stat_activity \
             where datname = $1 and pid <> pg_catalog.pg_backend_pid() and pid <> all ($2) \
               and usesysid is not null",
        )
        .bind(&self.name)
        .bind(excluded)
        .fetch_one(admin)
        .await
        .map_err(|source| self.failed("end the sessions of", source))
    }

    /// Refuses unless the database was adopted, carries the marker, or was just being made,
    /// and, where it is [locked](Self::locked_for), unless the lock is held and it is the same
    /// database.
    pub(crate) async fn guard(&self, admin: &mut PgConnection, act: &str) -> Result<()> {
        if self.adopted || self.marker(admin).await?.is_some() || self.is_unfinished(admin).await? {
            return self.verify(admin).await;
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "database `{}` was not made by this library and is not {act}",
                self.name
            ),
        )
        .with_hint("if you mean it, hand it over by its name"))
    }

    /// Whether its maker died before it wrote the marker; see [`UNFINISHED_LIMIT`].
    pub(crate) async fn is_unfinished(&self, admin: &mut PgConnection) -> Result<bool> {
        sqlx::query_scalar(
            "select exists (select from pg_catalog.pg_database \
             where datname = $1 and datconnlimit = $2)",
        )
        .bind(&self.name)
        .bind(UNFINISHED_LIMIT)
        .fetch_one(admin)
        .await
        .map_err(|source| self.failed("look up", source))
    }

    pub(crate) async fn comment(&self, admin: &mut PgConnection) -> Result<Option<String>> {
        sqlx::query_scalar::<_, Option<String>>(
            "select pg_catalog.shobj_description(oid, 'pg_database') \
             from pg_catalog.pg_database where datname = $1",
        )
        .bind(&self.name)
        .fetch_optional(admin)
        .await
        .map(Option::flatten)
        .map_err(|source| self.failed("read the comment of", source))
    }

    pub(crate) fn comment_sql(&self, comment: Option<&str>) -> String {
        let comment = comment.map_or_else(|| "null".to_owned(), quote_literal);
        format!(
            "comment on database {} is {comment}",
            quote_ident(&self.name)
        )
    }

    /// Runs one statement about this database.
    pub(crate) async fn act(&self, admin: &mut PgConnection, what: &str, sql: &str) -> Result<()> {
        admin
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .map(drop)
            .map_err(|source| self.failed(what, source))
    }

    pub(crate) fn failed(&self, what: &str, source: sqlx::Error) -> Error {
        Error::new(
            ErrorKind::Database,
            format!("failed to {what} database `{}`", self.name),
        )
        .with_source(source)
    }
}

/// The name and the place; never a password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .field("server", &place(&self.server))
            .field("adopted", &self.adopted)
            .finish()
    }
}

/// Where a server is, without user and password.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// Statements belong into reports, not into the log of every user.
fn quiet(options: PgConnectOptions) -> PgConnectOptions {
    options.disable_statement_logging()
}

/// Closes a connection; that it is closed already is no error.
pub(crate) async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection did not close in order");
    }
}

/// A name that starts with `base`, ends with `suffix`, and is short enough.
pub(crate) fn derived_name(base: &str, suffix: &str) -> String {
    let room = NAME_LIMIT - suffix.len() - 1;
    if base.len() <= room {
        return format!("{base}_{suffix}");
    }
    let hash = blake3::hash(base.as_bytes()).to_hex();
    let mut cut = room - 9;
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}_{}_{suffix}", &base[..cut], &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port();
        let url = format!("postgres://u:hunter2@127.0.0.1:{port}/orders");
        let database = Database::from_url(&Secret::new(url)).unwrap();
        let error = database.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = format!("{error:?}");
        assert!(text.contains("did not answer within 30s"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn handing_over_needs_the_name() {
        let database = Database::new(&PgConnectOptions::new_without_pgpass(), "orders");
        assert_eq!(
            database.clone().adopted("order").unwrap_err().kind(),
            ErrorKind::Refused
        );
        assert!(database.adopted("orders").is_ok());
    }

    #[test]
    fn derived_names_fit_and_differ() {
        assert_eq!(derived_name("orders", "kept"), "orders_kept");
        let (a, b) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
        let (x, y) = (derived_name(&a, "kept"), derived_name(&b, "kept"));
        assert!(x.len() <= NAME_LIMIT && y.len() <= NAME_LIMIT);
        assert_ne!(x, y);
        assert!(derived_name(&"ü".repeat(31), "kept").len() <= NAME_LIMIT);
    }
}
