//! States of the database as copies of it, and how the rows of two of them differ.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

#[cfg(feature = "docker")]
use super::unlogged;
use super::{PATIENCE, PostgresEnvironment, State, fresh_name};
use crate::context::UpgradeContext;
use crate::environment::{At, EMPTY, RowComparison, Snapshots};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{RowDiff, RowDiffRequest};
use crate::postgres::Database;
use crate::postgres::cluster;
use crate::postgres::database::{Marker, MarkerKind, close, derived_name};
use crate::postgres::rowdiff::{self, RowDiffOptions};

#[async_trait]
impl Snapshots for PostgresEnvironment {
    fn has_empty(&self) -> bool {
        self.source.is_disposable() && self.source.may_be_emptied()
    }

    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.only_disposable()?;
        let live = self.database()?;
        // What the label keeps is overwritten, so it is known again only when that has ended well.
        let earlier = self.state(|state| {
            state.releases.remove(label);
            state.snapshots.remove(label)
        });
        let name = match earlier {
            Some(kept) => kept.name().to_owned(),
            None => {
                let number = self.state(|state| {
                    state.copied += 1;
                    state.copied - 1
                });
                derived_name(live.name(), &format!("s{number}"))
            }
        };
        // Known before it is made, so that teardown removes also what was made by half.
        self.state(|state| state.copies.insert(name.clone()));
        cx.bounded("take a snapshot", self.keep_state(cx, &live, &name))
            .await??;
        let kept = live.sibling(&name);
        self.state(|state| state.snapshots.insert(label.to_owned(), kept));
        Ok(())
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.only_disposable()?;
        if label == EMPTY && self.has_empty() {
            let live = self.database()?;
            self.leave().await;
            cx.bounded("empty the database", self.make_anew(&live))
                .await??;
            return cx
                .bounded("set the database up", self.source.set_up(cx, &live))
                .await?;
        }
        let kept = self.at(&At::Snapshot(label.to_owned()))?;
        cx.bounded("restore a snapshot", self.put_back(cx, &kept))
            .await?
    }

    async fn forget(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.only_disposable()?;
        cx.bounded("give up a snapshot", self.drop_state(label))
            .await?
    }
}

impl PostgresEnvironment {
    /// A copy of a kept state, for a system that runs side by side with the live one.
    pub(in crate::environment) async fn beside(
        &self,
        cx: &UpgradeContext,
        label: &str,
        name: &str,
    ) -> Result<Database> {
        self.only_disposable()?;
        let kept = self.at(&At::Snapshot(label.to_owned()))?;
        let copying = async {
            let live = self.database()?;
            let name = derived_name(live.name(), name);
            self.state(|state| state.copies.insert(name.clone()));
            let past = self.state(|state| state.past.take());
            if let Some((_, session)) = past {
                close(session).await;
            }
            let mut admin = self.admin_session(&live).await?;
            let copy = self.copy(cx, &mut admin, &kept, &name).await?;
            self.keep_admin(admin).await;
            Ok(copy)
        };
        cx.bounded("copy a state", copying).await?
    }

    /// How many transactions a database has had, and how many statements, where the server counts them.
    pub(in crate::environment) async fn counts(
        &self,
        database: &Database,
    ) -> Result<(Option<u64>, Option<u64>)> {
        let mut admin = self.admin_session(&self.database()?).await?;
        let transactions: Option<i64> = sqlx::query_scalar(
            "select xact_commit + xact_rollback from pg_catalog.pg_stat_database where datname = $1",
        )
        .bind(database.name())
        .fetch_optional(&mut admin)
        .await?;
        let counts: bool =
            sqlx::query_scalar("select pg_catalog.to_regclass('pg_stat_statements') is not null")
                .fetch_one(&mut admin)
                .await?;
        let statements: Option<i64> = match counts {
            true => {
                sqlx::query_scalar(
                    "select sum(calls)::bigint from pg_stat_statements s \
                     join pg_catalog.pg_database d on d.oid = s.dbid where datname = $1",
                )
                .bind(database.name())
                .fetch_one(&mut admin)
                .await?
            }
            false => None,
        };
        self.keep_admin(admin).await;
        let count = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        Ok((count(transactions), count(statements)))
    }

    /// Drops such a copy.
    pub(in crate::environment) async fn drop_beside(&self, copy: &Database) -> Result<()> {
        let mut admin = self.admin_session(&self.database()?).await?;
        copy.drop(&mut admin).await?;
        self.keep_admin(admin).await;
        self.state(|state| state.copies.remove(copy.name()));
        Ok(())
    }

    /// Drops the copy that keeps a state.
    async fn drop_state(&self, label: &str) -> Result<()> {
        let live = self.database()?;
        let past = self.state(|state| {
            state.releases.remove(label);
            state.past.take_if(|(of, _)| of == label)
        });
        if let Some((_, session)) = past {
            close(session).await;
        }
        let Some(kept) = self.state(|state| state.snapshots.remove(label)) else {
            return Ok(());
        };
        let mut admin = self.admin_session(&live).await?;
        kept.drop(&mut admin).await?;
        self.keep_admin(admin).await;
        self.state(|state| state.copies.remove(kept.name()));
        Ok(())
    }
}

#[async_trait]
impl RowComparison for PostgresEnvironment {
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
        self.only_disposable()?;
        let databases = (self.at(from)?, self.at(to)?);
        let compare = async {
            let sessions = (
                self.session_at(from, &databases.0),
                self.session_at(to, &databases.1),
            );
            let (mut before, mut after) = tokio::try_join!(sessions.0, sessions.1)?;
            let options = RowDiffOptions::default();
            let found = rowdiff::diff_all(&mut before, &mut after, requests, &options)
                .await
                .map_err(|source| {
                    Error::new(ErrorKind::Database, "the rows could not be compared")
                        .with_source(source)
                })?;
            self.keep_at(from, before).await;
            self.keep_at(to, after).await;
            Ok(found)
        };
        cx.bounded("compare rows", compare).await?
    }
}

impl PostgresEnvironment {
    /// Drops every copy that was begun, as far as it can.
    pub(super) async fn drop_copies(&self, database: &Database) -> Result<()> {
        let copies = self.state(|state| state.copies.clone());
        if copies.is_empty() {
            return Ok(());
        }
        let mut admin = database.connect_maintenance().await?;
        if !database.exists(&mut admin).await? {
            // A restore was interrupted: the copies are all that there is.
            let message = format!(
                "database `{}` is missing, so its copies stay",
                database.name()
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let mut failed = None;
        let fresh = database.sibling(fresh_name(database));
        if let Err(error) = fresh.drop(&mut admin).await {
            failed.get_or_insert(error);
        }
        for copy in copies {
            match database.sibling(&copy).drop(&mut admin).await {
                Ok(_) => drop(self.state(|state| state.copies.remove(&copy))),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        close(admin).await;
        failed.map_or(Ok(()), Err)
    }

    /// Ends the sessions in the database and in its copies, before one of them is copied or replaced.
    async fn leave(&self) {
        drop(self.state(|state| (state.holds.take(), state.lock_queue.take())));
        let past = |state: &mut State| state.past.take().map(|(_, session)| session);
        let kept = self.state(|state| [past(state), state.live.take()]);
        for session in kept.into_iter().flatten() {
            close(session).await;
        }
    }

    async fn copy(
        &self,
        cx: &UpgradeContext,
        admin: &mut PgConnection,
        from: &Database,
        to: &str,
    ) -> Result<Database> {
        // What is overwritten is only ever a copy that this environment made.
        from.sibling(to).drop(admin).await?;
        let live = self.database()?;
        let marker = Marker::new(MarkerKind::Kept, cx.run_id().as_str()).beside(&live);
        let within = cx.remaining().unwrap_or(PATIENCE);
        from.copy(admin, to, &marker, self.source.copy_strategy(), within)
            .await
    }

    /// Keeps a copy of the database under another name.
    async fn keep_state(&self, cx: &UpgradeContext, live: &Database, to: &str) -> Result<()> {
        self.leave().await;
        let mut admin = self.admin_session(live).await?;
        self.copy(cx, &mut admin, live, to).await?;
        self.keep_admin(admin).await;
        Ok(())
    }

    /// Makes a database anew, without anything in it.
    async fn make_anew(&self, live: &Database) -> Result<()> {
        let mut admin = live.connect_maintenance().await?;
        live.guard(&mut admin, "emptied").await?;
        let comment = lasting_comment(live, &mut admin).await?;
        live.drop(&mut admin).await?;
        self.clear_server(&mut admin, live).await?;
        live.create(&mut admin, &Marker::new(MarkerKind::Kept, live.name()))
            .await?;
        let comment = live.comment_sql(comment.as_deref());
        live.act(&mut admin, "mark", &comment).await?;
        live.replaced().await?;
        close(admin).await;
        Ok(())
    }

    /// Removes what migrations have made on the server outside of the database, which is dropped.
    async fn clear_server(&self, admin: &mut PgConnection, live: &Database) -> Result<()> {
        if !self.source.may_clear_server() {
            return Ok(());
        }
        let before = self.state(|state| state.server_before.clone());
        cluster::remove_new(admin, live.name(), &before).await
    }

    /// Puts a copy of what was kept in the place of the database. The copy comes first: should it
    /// fail, for want of disk space say, nothing has changed.
    async fn put_back(&self, cx: &UpgradeContext, kept: &Database) -> Result<()> {
        let live = self.database()?;
        self.leave().await;
        let mut admin = self.admin_session(&live).await?;
        if live.exists(&mut admin).await? {
            live.guard(&mut admin, "put back").await?;
        }
        let fresh = self.copy(cx, &mut admin, kept, &fresh_name(&live)).await?;
        self.take_place(&mut admin, &live, &fresh).await?;
        live.replaced().await?;
        self.keep_admin(admin).await;
        Ok(())
    }

    /// Renames a copy to the database that it replaces, which is dropped.
    async fn take_place(
        &self,
        admin: &mut PgConnection,
        live: &Database,
        copy: &Database,
    ) -> Result<()> {
        let comment = lasting_comment(live, admin).await?;
        live.drop(admin).await?;
        self.clear_server(admin, live).await?;
        copy.rename(admin, live.name()).await?;
        let comment = live.comment_sql(comment.as_deref());
        live.act(admin, "mark", &comment).await?;
        live.is_no_copy(admin).await
    }

    /// On a server with a copy of all data of this one: its database gets a state that is kept here.
    #[cfg(feature = "docker")]
    pub(in crate::environment) async fn restore_beside(
        &self,
        live: &Database,
        kept: &Database,
    ) -> Result<()> {
        let mut admin = live.connect_maintenance().await?;
        let copy = live.sibling(kept.name());
        self.take_place(&mut admin, live, &copy).await?;
        close(admin).await;
        unlogged::copy(kept, live).await
    }
}

/// What is written on a database that takes the place of this one: our marker, also where a
/// migration has written something else over it.
async fn lasting_comment(live: &Database, admin: &mut PgConnection) -> Result<Option<String>> {
    match live.marker(admin).await? {
        Some(marker) => Ok(Some(marker.to_comment())),
        None => live.comment(admin).await,
    }
}
