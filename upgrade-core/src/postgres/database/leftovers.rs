//! Copies that a run has left beside a database because it was killed.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::{Database, Marker, MarkerKind, UNFINISHED_LIMIT};
use crate::error::{Error, ErrorKind, Result};

/// The note of a marker that names the database beside which a copy stands.
pub(crate) const OF: &str = "of";

/// The note of a marker with the time at which a copy was made, in seconds since 1970.
pub(crate) const MADE: &str = "made";

/// Name, comment, connection limit, bytes, and the server's time.
type Listed = (String, Option<String>, i32, Option<i64>, i64);

/// A copy beside a database that no run has taken away: see [`Database::leftovers`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// What it was made for; `None` where its maker was killed before it was complete.
    pub kind: Option<MarkerKind>,
    /// The run that made it, where it is known.
    pub run: Option<String>,
    /// How long ago it was made, by the server's clock, where it is known.
    pub age: Option<Duration>,
    /// Its size on disk in bytes, where the role may see it.
    pub bytes: Option<u64>,
    /// Whether its run still holds the lock of its operation: it is in use then.
    pub in_use: bool,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Some(MarkerKind::Kept) => "a state to roll back to",
            Some(MarkerKind::Aside) => "the upgraded database, set aside by a rollback",
            Some(_) => "a copy",
            None => "an incomplete copy",
        };
        write!(f, "`{}`: {what}", self.name)?;
        if let Some(run) = &self.run {
            write!(f, ", of run {run}")?;
        }
        if let Some(age) = self.age {
            write!(f, ", {} minutes old", age.as_secs() / 60)?;
        }
        if let Some(bytes) = self.bytes {
            write!(f, ", {} MB", bytes / 1_000_000)?;
        }
        if self.in_use {
            f.write_str(", in use")?;
        }
        Ok(())
    }
}

impl Database {
    /// The copies beside this database that runs have made and not taken away: kept states, and
    /// upgraded databases that a rollback has set aside. Those of a run that is under way are
    /// among them; [`Leftover::in_use`] marks them.
    ///
    /// # Errors
    /// [`ErrorKind::Database`] when the server cannot be asked.
    pub async fn leftovers(&self, admin: &mut PgConnection) -> Result<Vec<Leftover>> {
        let rows: Vec<Listed> = sqlx::query_as(
            "select datname::text, pg_catalog.shobj_description(oid, 'pg_database'), \
                 datconnlimit, \
                 case when pg_catalog.pg_has_role('pg_read_all_stats', 'usage') \
                     or pg_catalog.pg_has_role(datdba, 'usage') \
                     and pg_catalog.has_database_privilege(oid, 'connect') \
                     then pg_catalog.pg_database_size(oid) end, \
                 extract(epoch from now())::int8 \
             from pg_catalog.pg_database where datname <> $1 order by datname",
        )
        .bind(self.name())
        .fetch_all(&mut *admin)
        .await
        .map_err(|source| self.failed("look for leftovers of", source))?;
        let running: Vec<String> = sqlx::query_scalar(
            "select application_name from pg_catalog.pg_stat_activity \
             where application_name like 'upgrade operation %'",
        )
        .fetch_all(admin)
        .await
        .map_err(|source| self.failed("look for operations on", source))?;
        let mut found = Vec::new();
        for (name, comment, limit, bytes, now) in rows {
            let marker = comment.as_deref().and_then(Marker::from_comment);
            if !self.is_beside(&name, marker.as_ref(), limit) {
                continue;
            }
            let run = marker.as_ref().map(|marker| marker.owner.clone());
            let made = marker.as_ref().and_then(|marker| marker.notes.get(MADE));
            let made = made.and_then(|made| made.parse::<i64>().ok());
            found.push(Leftover {
                in_use: run
                    .as_ref()
                    .is_some_and(|run| running.contains(&format!("upgrade operation {run}"))),
                name,
                kind: marker.map(|marker| marker.kind),
                run,
                age: made
                    .and_then(|made| u64::try_from(now - made).ok())
                    .map(Duration::from_secs),
                bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            });
        }
        Ok(found)
    }

    /// Whether a database is a copy that stands beside this one. Markers of earlier versions do
    /// not say so; there the name does.
    fn is_beside(&self, name: &str, marker: Option<&Marker>, limit: i32) -> bool {
        // A long name is cut in that of its copy, and its hash stands for the rest.
        let hash = blake3::hash(self.name().as_bytes()).to_hex();
        let named = ["kept_", "aside_"].iter().any(|part| {
            name.starts_with(&format!("{}_{part}", self.name()))
                || name.contains(&format!("_{}_{part}", &hash[..8]))
        });
        match marker {
            Some(marker) => {
                matches!(marker.kind, MarkerKind::Kept | MarkerKind::Aside)
                    && marker.notes.get(OF).map_or(named, |of| of == self.name())
            }
            None => named && limit == UNFINISHED_LIMIT,
        }
    }

    /// Refuses where there are leftovers.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with all of them; [`ErrorKind::Database`] when the server cannot be
    /// asked.
    pub async fn refuse_leftovers(&self, admin: &mut PgConnection) -> Result<()> {
        let found = self.leftovers(admin).await?;
        if found.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "earlier runs have left {} copies beside database `{}`: {}",
                found.len(),
                self.name(),
                list.join("; ")
            ),
        )
        .with_hint("check what they hold, then remove them, or roll back to a kept one: `Database::remove_leftover`, `SnapshotSwap::adopt`"))
    }

    /// Drops a leftover.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when its run is under way, or when the database of that name is no
    /// longer that leftover; [`ErrorKind::Database`] with what the server said.
    pub async fn remove_leftover(
        &self,
        admin: &mut PgConnection,
        leftover: &Leftover,
    ) -> Result<()> {
        self.still(admin, leftover, "removed").await?;
        self.sibling(&leftover.name).drop(admin).await
    }

    /// Refuses unless the leftover is what it was, and nobody uses it.
    pub(crate) async fn still(
        &self,
        admin: &mut PgConnection,
        leftover: &Leftover,
        act: &str,
    ) -> Result<()> {
        let now = self.leftovers(admin).await?;
        let now = now.iter().find(|now| now.name == leftover.name);
        let same = now.is_some_and(|now| now.kind == leftover.kind && now.run == leftover.run);
        let why = match now {
            Some(now) if now.in_use => "its run is under way",
            _ if !same => "it is not what it was when it was listed",
            _ => return Ok(()),
        };
        Err(Error::new(
            ErrorKind::Refused,
            format!("database `{}` is not {act}: {why}", leftover.name),
        )
        .with_hint("list the leftovers again"))
    }
}
