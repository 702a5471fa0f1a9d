//! Drops what dead processes left on a shared server, and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use sqlx::Executor;
use sqlx::postgres::PgConnection;
use upgrade_core::lease::kept_until;
use upgrade_core::postgres::database::{Database, Marker, UNFINISHED_LIMIT};
use upgrade_core::postgres::sql::quote_ident;

use super::super::error::PoolError;
use super::super::worker::WorkerHandle;
use super::lease::lease_key;
use super::{TEMPLATE_PREFIX, TEST_PREFIX};

/// The note in a marker that says until when a database stays, in seconds since 1970.
pub(super) const KEPT_UNTIL: &str = "kept_until";

/// How many databases a sweep in the background drops before it looks whether the process ends.
const AT_ONCE: usize = 5;

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Databases that were dropped, in the order of their names.
    pub dropped: Vec<String>,
    /// Databases of ours that stay: in use, kept, or beyond the limit of this sweep.
    pub left: usize,
}

/// How far a sweep goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What nobody uses and nobody keeps.
    Abandoned,
    /// Kept databases and complete templates as well.
    Everything,
}

/// A database as the server lists it.
#[derive(Debug)]
struct Listed {
    name: String,
    comment: Option<String>,
    unfinished: bool,
    is_template: bool,
}

impl Listed {
    /// The lock that protects it, if it may be dropped once nobody holds that; `None` if it stays.
    fn protected_by(&self, reach: Reach, now: SystemTime) -> Option<String> {
        let marker = self.comment.as_deref().and_then(Marker::from_comment);
        if marker.is_none() && !self.unfinished {
            return None;
        }
        if self.name.starts_with(TEMPLATE_PREFIX) {
            let sweepable = !self.is_template || reach == Reach::Everything;
            return sweepable.then(|| self.name.clone());
        }
        let run = self.name.strip_prefix(TEST_PREFIX)?;
        let kept_until = marker
            .and_then(|marker| marker.notes.get(KEPT_UNTIL)?.parse().ok())
            .and_then(kept_until);
        if reach == Reach::Abandoned && kept_until.is_some_and(|until| until > now) {
            return None;
        }
        // `RUN` and `RUN_2` were handed out; `RUN_kept` and `RUN_2_aside` were made from them and
        // share their fate.
        let mut parts = run.split('_');
        let mut name = format!("{TEST_PREFIX}{}", parts.next()?);
        if let Some(n) = parts.next()
            && n.parse::<u32>().is_ok()
        {
            name.push('_');
            name.push_str(n);
        }
        Some(name)
    }
}

/// Drops every database whose owner is dead, a few at a time, for as long as this process has
/// something else to do: the next process drops the rest.
pub(super) async fn sweep_all(handle: &Arc<WorkerHandle>) -> Result<(), PoolError> {
    while !handle.is_ending() {
        if sweep(handle, Reach::Abandoned, AT_ONCE)
            .await?
            .dropped
            .len()
            < AT_ONCE
        {
            break;
        }
    }
    Ok(())
}

/// Drops at most `limit` databases whose owner is dead.
pub(super) async fn sweep(
    handle: &Arc<WorkerHandle>,
    reach: Reach,
    limit: usize,
) -> Result<Swept, PoolError> {
    let mut admin = handle.admin().await?;
    let listed: Vec<(String, Option<String>, bool, bool)> = sqlx::query_as(
        "select datname::text, shobj_description(oid, 'pg_database'), \
         datconnlimit = $1, datistemplate \
         from pg_catalog.pg_database where datname like 'upgrade\\_%' order by datname",
    )
    .bind(UNFINISHED_LIMIT)
    .fetch_all(&mut *admin)
    .await
    .map_err(PoolError::database("list the databases of the server"))?;
    admin.give_back();
    let mut swept = Swept::default();
    let now = SystemTime::now();
    for (name, comment, unfinished, is_template) in listed {
        let database = Listed {
            name,
            comment,
            unfinished,
            is_template,
        };
        let Some(lock) = database.protected_by(reach, now) else {
            swept.left += 1;
            continue;
        };
        if swept.dropped.len() >= limit {
            swept.left += 1;
            continue;
        }
        // One at a time: a job of a test comes in between.
        let mut admin = handle.admin().await?;
        if !try_lock(&mut admin, &lock).await? {
            admin.give_back();
            swept.left += 1;
            continue;
        }
        let target = handle.server().sibling(&*database.name);
        let dropped = drop_whole(&mut admin, &target, database.is_template).await;
        unlock(&mut admin, &lock).await?;
        admin.give_back();
        match dropped {
            Ok(()) => swept.dropped.push(database.name),
            Err(error) => {
                tracing::warn!(database = database.name, %error, "cannot drop an abandoned database");
                swept.left += 1;
            }
        }
    }
    if !swept.dropped.is_empty() {
        tracing::info!(dropped = swept.dropped.len(), "swept abandoned databases");
    }
    Ok(swept)
}

/// Drops a database of ours; a template as well.
pub(super) async fn drop_whole(
    admin: &mut PgConnection,
    database: &Database,
    is_template: bool,
) -> Result<(), PoolError> {
    let failed = || format!("drop database `{}`", database.name());
    if is_template {
        // Whether it is ours at all, which the drop would ask too late.
        let ours = database
            .marker(admin)
            .await
            .map_err(PoolError::database(failed()))?;
        if ours.is_some() {
            let sql = format!(
                "alter database {} is_template false",
                quote_ident(database.name())
            );
            admin
                .execute(sqlx::AssertSqlSafe(sql))
                .await
                .map_err(PoolError::database(failed()))?;
        }
    }
    database
        .drop(admin)
        .await
        .map_err(PoolError::database(failed()))
}

/// Takes a lock in the session of `admin`; `false` when somebody else holds it.
pub(super) async fn try_lock(admin: &mut PgConnection, name: &str) -> Result<bool, PoolError> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(lease_key(name))
        .fetch_one(admin)
        .await
        .map_err(PoolError::database(format!("ask for the lock of `{name}`")))
}

pub(super) async fn unlock(admin: &mut PgConnection, name: &str) -> Result<(), PoolError> {
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(lease_key(name))
        .execute(admin)
        .await
        .map(drop)
        .map_err(PoolError::database(format!("free the lock of `{name}`")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use upgrade_core::postgres::database::MarkerKind;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn listed(name: &str, comment: Option<String>) -> Listed {
        Listed {
            name: name.to_owned(),
            comment,
            unfinished: false,
            is_template: false,
        }
    }

    fn marked(kind: MarkerKind) -> Option<String> {
        Some(Marker::new(kind, "r1").to_comment())
    }

    fn check(database: &Listed, abandoned: Option<&str>, everything: Option<&str>) {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        for (reach, expected) in [
            (Reach::Abandoned, abandoned),
            (Reach::Everything, everything),
        ] {
            assert_eq!(
                database.protected_by(reach, now).as_deref(),
                expected,
                "{database:?} {reach:?}"
            );
        }
    }

    #[test]
    fn only_marked_databases_with_our_names_are_swept() {
        let test = "upgrade_test_r1";
        check(
            &listed(test, marked(MarkerKind::Test)),
            Some(test),
            Some(test),
        );
        check(&listed(test, None), None, None);
        check(&listed(test, Some("prod".to_owned())), None, None);
        check(&listed("orders", marked(MarkerKind::Kept)), None, None);
        let mut unfinished = listed(test, None);
        unfinished.unfinished = true;
        check(&unfinished, Some(test), Some(test));
    }

    #[test]
    fn what_was_made_from_a_test_database_shares_its_lease() {
        for (name, lease) in [
            ("upgrade_test_r1_2", "upgrade_test_r1_2"),
            ("upgrade_test_r1_kept", "upgrade_test_r1"),
            ("upgrade_test_r1_2_aside", "upgrade_test_r1_2"),
        ] {
            check(
                &listed(name, marked(MarkerKind::Kept)),
                Some(lease),
                Some(lease),
            );
        }
    }

    #[test]
    fn a_kept_database_stays_until_its_time_is_over() {
        let test = "upgrade_test_r1";
        let kept = |until: u64| {
            let marker =
                Marker::new(MarkerKind::Test, "r1").with_note(KEPT_UNTIL, until.to_string());
            listed(test, Some(marker.to_comment()))
        };
        check(&kept(NOW + 1), None, Some(test));
        check(&kept(NOW), Some(test), Some(test));
    }

    #[test]
    fn a_complete_template_goes_only_when_everything_goes() {
        let name = "upgrade_tpl_ab";
        let mut template = listed(name, marked(MarkerKind::Template));
        check(&template, Some(name), Some(name));
        template.is_template = true;
        check(&template, None, Some(name));
    }
}
