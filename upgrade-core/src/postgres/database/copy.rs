//! Copies of a database, with what `CREATE DATABASE … TEMPLATE` does not copy.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::{Database, Marker, UNFINISHED_LIMIT, known, quote_ident, quote_literal};
use crate::error::{Error, ErrorKind, Result};

/// How the server copies a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CopyStrategy {
    /// Whatever the server does when nothing is said; all that a server below 15 can do.
    ServerDefault,
    /// Block by block through the log: the faster one for small databases.
    WalLog,
    /// File by file, with two checkpoints: the faster one for large databases, and the one that
    /// shares blocks where server and file system can.
    FileCopy,
}

impl CopyStrategy {
    fn clause(self) -> &'static str {
        match self {
            Self::ServerDefault => "",
            Self::WalLog => " strategy wal_log",
            Self::FileCopy => " strategy file_copy",
        }
    }
}

/// Settings whose stored value is a list that is quoted already.
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

impl Database {
    /// Makes a marked copy under another name: content, owner, privileges and settings.
    ///
    /// Sessions of this database are ended, because the server copies only what nobody uses;
    /// while the copy is made it lets nobody in. The copy is closed to connections until it is
    /// complete. A copy that cannot be completed is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when sessions would have to be ended that may not be,
    /// [`ErrorKind::Timeout`] when they come back faster than they are ended,
    /// [`ErrorKind::Database`] with what the server said.
    pub async fn copy(
        &self,
        admin: &mut PgConnection,
        to: &str,
        marker: &Marker,
        strategy: CopyStrategy,
        within: Duration,
    ) -> Result<Self> {
        self.copy_as(admin, to, marker, strategy, within, true)
            .await
    }

    /// As [`Self::copy`]; the copy may stay closed to connections.
    pub(crate) async fn copy_as(
        &self,
        admin: &mut PgConnection,
        to: &str,
        marker: &Marker,
        strategy: CopyStrategy,
        within: Duration,
        open: bool,
    ) -> Result<Self> {
        let copy = self.sibling(to);
        let sql = format!(
            "create database {} template {} allow_connections false \
             connection limit {UNFINISHED_LIMIT}{}",
            quote_ident(to),
            quote_ident(self.name()),
            strategy.clause()
        );
        let deadline = Instant::now() + within;
        loop {
            self.terminate_sessions(admin, deadline.saturating_duration_since(Instant::now()))
                .await?;
            match sqlx::raw_sql(sqlx::AssertSqlSafe(sql.as_str()))
                .execute(&mut *admin)
                .await
            {
                Ok(_) => break,
                // 55006: somebody came in between.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55006") => {
                    if Instant::now() >= deadline {
                        return Err(Error::new(
                            ErrorKind::Timeout,
                            format!(
                                "database `{}` was in use again and again for {within:?}",
                                self.name()
                            ),
                        )
                        .with_source(sqlx::Error::Database(error))
                        .with_hint(
                            "stop its services, or shut it with `ALLOW_CONNECTIONS false`",
                        ));
                    }
                }
                Err(source) => return Err(self.failed("copy", source)),
            }
        }
        let completed = self.complete(admin, &copy, marker, open).await;
        if let Err(error) = completed {
            if let Err(undo) = copy.drop(admin).await {
                return Err(error.with_context("not removed", format!("`{to}`: {undo}")));
            }
            return Err(error);
        }
        Ok(copy)
    }

    /// A session in a copy that is closed to connections: it is opened for the moment in which
    /// this session connects, and whoever came in with it is put out.
    pub(crate) async fn enter_closed(&self, admin: &mut PgConnection) -> Result<PgConnection> {
        self.guard(admin, "opened").await?;
        let limit: i32 = sqlx::query_scalar(
            "select datconnlimit from pg_catalog.pg_database where datname = $1",
        )
        .bind(self.name())
        .fetch_one(&mut *admin)
        .await
        .map_err(|source| self.failed("look up", source))?;
        let name = quote_ident(self.name());
        let open = format!("alter database {name} allow_connections true connection limit 1");
        self.act(admin, "open", &open).await?;
        let connected = self.connect().await;
        let shut =
            format!("alter database {name} allow_connections false connection limit {limit}");
        self.act(admin, "close", &shut).await?;
        let mut connection = connected?;
        let pid: i32 = sqlx::query_scalar("select pg_catalog.pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .map_err(|source| self.failed("enter", source))?;
        self.end_sessions(admin, &[pid]).await?;
        Ok(connection)
    }

    /// Gives a copy what its template does not hand on, and its marker; all or nothing, in one
    /// round trip.
    async fn complete(
        &self,
        admin: &mut PgConnection,
        copy: &Self,
        marker: &Marker,
        open: bool,
    ) -> Result<()> {
        let name = quote_ident(copy.name());
        let mut statements = vec![
            copy.comment_sql(Some(&marker.to_comment())),
            format!("alter database {name} connection limit -1 allow_connections {open}"),
        ];
        statements.extend(self.settings(admin, copy.name()).await?);
        copy.act(admin, "set up", &statements.join("; ")).await?;
        known::same_or_remembered(copy, admin, Some(marker.clone()))
            .await
            .map(drop)
    }

    /// What a template does not hand on, as statements about another database: owner,
    /// privileges, connection limit, settings of the database and of roles in it.
    async fn settings(&self, admin: &mut PgConnection, to: &str) -> Result<Vec<String>> {
        let to = quote_ident(to);
        let failed = |source| self.failed("read the settings of", source);
        let mut statements = Vec::new();

        let (owner, limit, has_acl): (String, i32, bool) = sqlx::query_as(
            "select pg_catalog.pg_get_userbyid(datdba)::text, datconnlimit, datacl is not null \
             from pg_catalog.pg_database where datname = $1",
        )
        .bind(self.name())
        .fetch_one(&mut *admin)
        .await
        .map_err(failed)?;
        let me: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(&mut *admin)
            .await
            .map_err(failed)?;
        if owner != me {
            statements.push(format!(
                "alter database {to} owner to {}",
                quote_ident(&owner)
            ));
        }
        if limit != -1 {
            statements.push(format!("alter database {to} connection limit {limit}"));
        }
        if has_acl {
            statements.push(format!("revoke all on database {to} from public"));
            let grants: Vec<(Option<String>, String, bool)> = sqlx::query_as(
                "select r.rolname::text, a.privilege_type, a.is_grantable \
                 from pg_catalog.pg_database d \
                 cross join lateral pg_catalog.aclexplode(d.datacl) a \
                 left join pg_catalog.pg_roles r on r.oid = a.grantee \
                 where d.datname = $1 order by 1 nulls first, 2",
            )
            .bind(self.name())
            .fetch_all(&mut *admin)
            .await
            .map_err(failed)?;
            for (role, privilege, grantable) in grants {
                let role = role.map_or_else(|| "public".to_owned(), |role| quote_ident(&role));
                let option = if grantable { " with grant option" } else { "" };
                statements.push(format!(
                    "grant {privilege} on database {to} to {role}{option}"
                ));
            }
        }
        let settings: Vec<(Option<String>, String)> = sqlx::query_as(
            "select r.rolname::text, unnest(s.setconfig) \
             from pg_catalog.pg_db_role_setting s \
             join pg_catalog.pg_database d on d.oid = s.setdatabase \
             left join pg_catalog.pg_roles r on r.oid = s.setrole \
             where d.datname = $1 order by 1 nulls first, 2",
        )
        .bind(self.name())
        .fetch_all(&mut *admin)
        .await
        .map_err(failed)?;
        for (role, setting) in settings {
            let Some((name, value)) = setting.split_once('=') else {
                continue;
            };
            let value = if value.is_empty() || !QUOTED_LISTS.contains(&name) {
                quote_literal(value)
            } else {
                value.to_owned()
            };
            // Names with a dot belong to extensions; each part is a name.
            let name: Vec<String> = name.split('.').map(quote_ident).collect();
            let name = name.join(".");
            statements.push(match role {
                None => format!("alter database {to} set {name} to {value}"),
                Some(role) => {
                    let role = quote_ident(&role);
                    format!("alter role {role} in database {to} set {name} to {value}")
                }
            });
        }
        Ok(statements)
    }
}
