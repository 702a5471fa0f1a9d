//! Templates on a shared server: databases that are complete or not there.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use upgrade_core::BoxError;
use upgrade_core::postgres::database::{Database, Marker, MarkerKind};

use super::super::error::PoolError;
use super::super::local::{short, shut, vacuum};
use super::super::strategy::{self, StrategyChoice};
use super::super::worker::{Admin, WorkerHandle};
use super::sweep::{drop_whole, try_lock};
use super::{SharedHost, TEMPLATE_PREFIX, place};

/// The note in a template's marker that holds its strategy.
const STRATEGY: &str = "strategy";

/// What somebody who wants a template finds.
enum Found {
    /// It is complete.
    Complete(StrategyChoice),
    /// It has to be built, under the lock that this session holds.
    Missing(Admin),
}

/// A template that is being built. If nobody waits for it any more (a deadline, a panic of the
/// closure), it is dropped.
struct Half {
    handle: Arc<WorkerHandle>,
    held: Option<(Admin, Database)>,
}

impl Drop for Half {
    fn drop(&mut self) {
        let Some((mut admin, database)) = self.held.take() else {
            return;
        };
        self.handle.spawn(async move {
            if let Err(error) = drop_whole(&mut admin, &database, false).await {
                tracing::debug!(%error, "half a template is left to the next build");
            }
        });
    }
}

impl SharedHost {
    /// The template of that hash: as it is there, or built now, by one process at a time.
    pub(in crate::pool) async fn template<F, Fut, E>(
        &self,
        hash: &str,
        within: Duration,
        build: F,
    ) -> Result<(String, StrategyChoice), PoolError>
    where
        F: FnOnce(Database) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        // Half of the hash is unique enough, and the whole does not fit.
        let name = format!("{TEMPLATE_PREFIX}{}", &hash[..32]);
        let database = self.database(&name);
        let handle = Arc::clone(self.worker.handle());
        let found = self
            .worker
            .run(find(handle, database.clone(), hash.to_owned(), within))
            .await?;
        let mut half = match found {
            Found::Complete(choice) => return Ok((name, choice)),
            Found::Missing(admin) => Half {
                handle: Arc::clone(self.worker.handle()),
                held: Some((admin, database.clone())),
            },
        };
        let start = Instant::now();
        let built = match build(database.clone()).await {
            Ok(()) => vacuum(&database).await,
            Err(source) => Err(PoolError::BuildFailed {
                hash: short(hash),
                source: source.into(),
            }),
        };
        let hash = hash.to_owned();
        let (mut admin, _) = half.held.take().expect("taken only here");
        let job = async move {
            let finished = match built {
                Ok(()) => finish(&mut admin, &database, &hash).await,
                Err(error) => Err(error),
            };
            if finished.is_err()
                && let Err(error) = drop_whole(&mut admin, &database, false).await
            {
                tracing::debug!(%error, "half a template is left to the next build");
            }
            tracing::info!(template = hash, elapsed = ?start.elapsed(), ok = finished.is_ok(), "built a template");
            // The session ends here, and the lock with it.
            drop(admin);
            finished
        };
        Ok((name, self.worker.run(job).await?))
    }
}

/// Looks for the template, and takes its lock if it is missing.
async fn find(
    handle: Arc<WorkerHandle>,
    database: Database,
    hash: String,
    within: Duration,
) -> Result<Found, PoolError> {
    let start = Instant::now();
    let mut admin = loop {
        let mut admin = handle.admin().await?;
        if let Some(choice) = complete(&mut admin, &database).await? {
            admin.give_back();
            return Ok(Found::Complete(choice));
        }
        if try_lock(&mut admin, database.name()).await? {
            break admin;
        }
        // The tests of this process go on while another one builds.
        admin.give_back();
        if start.elapsed() >= within {
            return Err(PoolError::LockTimeout {
                what: format!("the lock of template `{}`", database.name()),
                within,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // poll
    };
    // Between the look and the lock somebody may have completed it. The session with the lock is
    // not given back, so that the lock ends with it.
    if let Some(choice) = complete(&mut admin, &database).await? {
        return Ok(Found::Complete(choice));
    }
    let failed = || format!("make template `{}`", database.name());
    if let Some(is_template) = state(&mut admin, &database).await? {
        // With the lock in hand, an incomplete one is of a process that died.
        drop_incomplete(&mut admin, &database, is_template).await?;
    }
    let marker = Marker::new(MarkerKind::Template, hash);
    database
        .create(&mut admin, &marker)
        .await
        .map_err(PoolError::database(failed()))?;
    admin.set_apart();
    Ok(Found::Missing(admin))
}

async fn drop_incomplete(
    admin: &mut PgConnection,
    database: &Database,
    is_template: bool,
) -> Result<(), PoolError> {
    drop_whole(admin, database, is_template)
        .await
        .map_err(|error| match &error {
            PoolError::Database { source, .. } => {
                let refused = source
                    .downcast_ref::<upgrade_core::Error>()
                    .is_some_and(|error| error.kind() == upgrade_core::ErrorKind::Refused);
                if refused {
                    return PoolError::Unmarked {
                        name: database.name().to_owned(),
                        place: place(database),
                    };
                }
                error
            }
            _ => error,
        })
}

/// Measures, writes down, shuts. That it is shut says that it is complete, so that comes last.
async fn finish(
    admin: &mut PgConnection,
    database: &Database,
    hash: &str,
) -> Result<StrategyChoice, PoolError> {
    let choice = strategy::choose(admin, database, None).await?;
    let json = serde_json::to_string(&choice).expect("a choice has only string keys");
    let failed = || PoolError::database(format!("mark template `{}`", database.name()));
    // What its builder has noted stays.
    let marker = database.marker(admin).await.map_err(failed())?;
    let marker = marker.unwrap_or_else(|| Marker::new(MarkerKind::Template, hash));
    database
        .remark(admin, &marker.with_note(STRATEGY, json))
        .await
        .map_err(failed())?;
    shut(admin, database).await?;
    Ok(choice)
}

/// The strategy of a complete template; `None` if it is missing or incomplete.
async fn complete(
    admin: &mut PgConnection,
    database: &Database,
) -> Result<Option<StrategyChoice>, PoolError> {
    let comment: Option<Option<String>> = sqlx::query_scalar(
        "select shobj_description(oid, 'pg_database') from pg_catalog.pg_database \
         where datname = $1 and datistemplate and not datallowconn",
    )
    .bind(database.name())
    .fetch_optional(admin)
    .await
    .map_err(PoolError::database(format!(
        "look for template `{}`",
        database.name()
    )))?;
    let marker = comment
        .flatten()
        .as_deref()
        .and_then(Marker::from_comment)
        .filter(|marker| marker.kind == MarkerKind::Template);
    Ok(marker.and_then(|marker| serde_json::from_str(marker.notes.get(STRATEGY)?).ok()))
}

/// Whether a database of that name has the flag of a template; `None` if there is no such database.
async fn state(admin: &mut PgConnection, database: &Database) -> Result<Option<bool>, PoolError> {
    sqlx::query_scalar("select datistemplate from pg_catalog.pg_database where datname = $1")
        .bind(database.name())
        .fetch_optional(admin)
        .await
        .map_err(PoolError::database(format!(
            "look for template `{}`",
            database.name()
        )))
}
