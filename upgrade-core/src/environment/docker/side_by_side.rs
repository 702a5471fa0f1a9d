//! Systems beside the live one: each a staging with its own networks, volumes and server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::database::Login;
use super::services::came_up;
use super::snapshots::{Snapshot, unknown};
use super::{DockerEnvironment, Runs};
use crate::context::UpgradeContext;
use crate::docker::Stack;
use crate::docker::staging::{Backup, Kept, Staging, StagingOptions};
use crate::environment::{Endpoints, SideBySide};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::outcome::Outcome;
use crate::postgres::Database;
use crate::postgres::database::close;
use crate::side::Side;

/// A system beside the live one.
#[derive(Debug)]
pub(super) struct Beside {
    staging: Staging,
    backup: Backup,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    endpoints: Endpoints,
    /// What the volumes have to hold before the services start for the first time.
    volumes: Option<Arc<Kept>>,
}

impl Beside {
    fn known<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl SideBySide for DockerEnvironment {
    async fn copy(&self, cx: &UpgradeContext, side: Side, label: &str) -> Result<()> {
        self.remove(cx, side).await?;
        let snapshot = self.state(|state| state.snapshots.get(label).cloned());
        let snapshot = snapshot.ok_or_else(|| unknown(label))?;
        // On the heap: these futures are large.
        let copying = Box::pin(self.begin(cx, side, label, &snapshot));
        let beside = cx.bounded("copy a state for a side", copying).await??;
        self.sides(|sides| sides.insert(side, Arc::new(beside)));
        Ok(())
    }

    async fn start(&self, cx: &UpgradeContext, side: Side, release: &Version) -> Result<Outcome> {
        let beside = self.sides(|sides| sides.get(&side).cloned());
        let beside = beside.ok_or_else(|| {
            let message = format!("there is no copy of the data for the {side}");
            Error::new(ErrorKind::NotFound, message).with_hint("call `copy` first")
        })?;
        let (staging, service) = (&beside.staging, self.database_service());
        let stack = of_side(self.stack_beside(release)?, service, &beside.backup);
        if let Some(kept) = beside.known(|known| known.volumes.clone()) {
            let laying = staging.put_back_volumes(&stack, &kept, service);
            cx.bounded("fill the volumes of a side", laying).await??;
            beside.known(|known| known.volumes = None);
        }
        let moving = Box::pin(staging.move_to(&stack));
        let moved = cx.bounded("start the services of a side", moving).await?;
        if moved.is_ok() {
            let login = Login::of(&stack, service)?;
            let (endpoints, _) = self.endpoints_of(staging, &stack, Some(&login)).await;
            beside.known(|known| known.endpoints = endpoints);
        }
        came_up(moved)
    }

    fn endpoints(&self, side: Side) -> Endpoints {
        let beside = self.sides(|sides| sides.get(&side).cloned());
        beside.map_or_else(Endpoints::default, |beside| {
            beside.known(|known| known.endpoints.clone())
        })
    }

    async fn remove(&self, _: &UpgradeContext, side: Side) -> Result<()> {
        self.remove_side(side).await
    }
}

impl DockerEnvironment {
    fn sides<T>(&self, act: impl FnOnce(&mut BTreeMap<Side, Arc<Beside>>) -> T) -> T {
        act(&mut self.sides.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts the database of a side, with the data of a kept state.
    async fn begin(
        &self,
        cx: &UpgradeContext,
        side: Side,
        label: &str,
        snapshot: &Snapshot,
    ) -> Result<Beside> {
        let postgres = self.postgres()?;
        let kept = postgres.kept(label).ok_or_else(|| unknown(label))?;
        let service = self.database_service();
        let (Runs::One(release) | Runs::Both(release, ..)) = &snapshot.runs;
        let stack = self.stack(release)?;
        let login = Login::of(&stack, service)?;
        let backup = snapshot
            .backup
            .get_or_try_init(|| self.back_up(&kept, &login))
            .await?
            .clone();
        let mut stack = of_side(stack, service, &backup);
        stack.services.retain(|name, _| name == service);
        let running = self.running()?;
        let log_files = match &running.folder {
            Some(folder) => Some(self.log_files(folder, side.as_str())?),
            None => None,
        };
        let options = StagingOptions {
            shared: None,
            backup: Some(backup.clone()),
            log_files,
            ..self.options.clone()
        };
        let (name, run) = (format!("{}-{side}", self.name), cx.run_id().as_str());
        let staging = Staging::start(&name, run, &stack, options).await?;
        let (endpoints, database) = self.endpoints_of(&staging, &stack, Some(&login)).await;
        let database = database.ok_or_else(|| {
            let message = format!("service `{service}`, the database, has no port");
            Error::new(ErrorKind::Environment, message)
        })?;
        postgres.restore_beside(&database, &kept).await?;
        Ok(Beside {
            staging,
            backup,
            known: Mutex::new(Known {
                endpoints,
                volumes: Some(Arc::clone(&snapshot.volumes)),
            }),
        })
    }

    /// Copies all data of the server that has a database.
    async fn back_up(&self, of: &Database, login: &Login) -> Result<Backup> {
        let mut admin = of.connect_maintenance().await?;
        let folder: String = sqlx::query_scalar("show data_directory")
            .fetch_one(&mut admin)
            .await
            .map_err(|source| of.failed("find the data of the server of", source))?;
        close(admin).await;
        let running = self.running()?;
        let service = self.database_service();
        let backup = running.staging.back_up(service, folder, login.user());
        backup.await
    }

    /// Removes a side; one that a call still uses stays.
    async fn remove_side(&self, side: Side) -> Result<()> {
        let free = self.sides(|sides| {
            let Some(beside) = sides.remove(&side) else {
                return Ok(None);
            };
            Arc::try_unwrap(beside).map(Some).map_err(|used| {
                sides.insert(side, used);
                let message = format!("a call still uses the {side}");
                Error::new(ErrorKind::Environment, message)
                    .with_hint("wait until it has ended, and call this again")
            })
        });
        match free? {
            Some(beside) => beside.staging.end().await,
            None => Ok(()),
        }
    }

    /// Removes all sides, also after one of them could not be.
    pub(super) async fn remove_sides(&self) -> Result<()> {
        let removed = join_all(Side::ALL.map(|side| self.remove_side(side))).await;
        removed.into_iter().collect()
    }
}

/// The stack of a release as a side runs it. Its database waits for no other service: it is there first.
fn of_side(mut stack: Stack, database: &str, backup: &Backup) -> Stack {
    backup.give_place(&mut stack);
    if let Some(service) = stack.services.get_mut(database) {
        service.depends_on.clear();
    }
    stack
}
