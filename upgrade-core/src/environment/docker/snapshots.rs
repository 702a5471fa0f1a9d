//! States of the whole system: the database, the volumes, and which services ran.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{DockerEnvironment, Runs};
use crate::context::UpgradeContext;
use crate::docker::staging::{Backup, Frozen, Kept};
use crate::environment::{EMPTY, Snapshots};
use crate::error::{Error, ErrorKind, Result};

/// What a label keeps beside the database.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) runs: Runs,
    pub(super) volumes: Arc<Kept>,
    /// All data of the server, for the systems that run side by side with the live one. Made for the first of
    /// them.
    pub(super) backup: Arc<OnceCell<Backup>>,
}

#[async_trait]
impl Snapshots for DockerEnvironment {
    fn has_empty(&self) -> bool {
        true
    }

    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let (running, database) = (self.running()?, self.database_service());
        let staging = &running.staging;
        // A kept state is one without faults.
        self.recover_all(cx).await?;
        // Frozen, nobody writes into a volume, and nobody comes back while the database is copied.
        let mut frozen = Frozen::none(staging);
        let freezing = cx.bounded(
            "freeze the services",
            frozen.freeze_others(staging, database),
        );
        let kept = match freezing.await.flatten() {
            Ok(()) => {
                let keeping = self.take_snapshot(cx, label);
                let keeping = cx.bounded("keep the state of the services", keeping);
                keeping.await.flatten()
            }
            Err(error) => Err(error),
        };
        // They go on, however that ended.
        match (kept, frozen.thaw().await) {
            (Err(error), Err(frozen)) => Err(error.with_context("besides", frozen)),
            (kept, gone_on) => kept.and(gone_on),
        }
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let running = self.running()?;
        let staging = &running.staging;
        let recovered = staging.recover_before_anew(self.database_service());
        cx.bounded("recover from all faults", recovered).await??;
        cx.bounded("put the services back", self.put_back(cx, label))
            .await?
    }

    async fn forget(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        // What the volumes held is in files without a name, which go with their last holder.
        drop(self.state(|state| state.snapshots.remove(label)));
        self.postgres()?.forget(cx, label).await
    }
}

impl DockerEnvironment {
    /// Keeps volumes and database, while nothing but the database runs.
    async fn take_snapshot(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let staging = &self.running()?.staging;
        let runs = self.state(|state| state.runs.clone());
        let volumes = staging.keep_volumes(self.database_service()).await?;
        self.postgres()?.take(cx, label).await?;
        let snapshot = Snapshot {
            runs,
            volumes: Arc::new(volumes),
            backup: Arc::default(),
        };
        self.state(|state| state.snapshots.insert(label.to_owned(), snapshot));
        Ok(())
    }

    async fn put_back(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let running = self.running()?;
        let known = self.state(|state| state.snapshots.get(label).cloned());
        let snapshot = match known {
            Some(snapshot) => snapshot,
            // The services of the empty system are those of the previous release.
            None if label == EMPTY => Snapshot {
                runs: Runs::One(cx.from().clone()),
                volumes: Arc::default(),
                backup: Arc::default(),
            },
            None => return Err(unknown(label)),
        };
        let (Runs::One(release) | Runs::Both(release, ..)) = &snapshot.runs;
        let stack = self.stack(release)?;
        let service = self.database_service();
        // On the heap: these futures are large.
        let between = Box::pin(async {
            self.postgres()?.restore(cx, label).await?;
            running
                .staging
                .put_back_volumes(&stack, &snapshot.volumes, service)
                .await
        });
        Box::pin(running.staging.start_anew(&stack, service, between)).await?;
        if let Runs::Both(_, to, count) = &snapshot.runs {
            let to = self.stack(to)?;
            running.staging.move_between(&stack, &to, *count).await?;
        }
        self.state(|state| state.runs = snapshot.runs);
        Ok(())
    }
}

pub(super) fn unknown(label: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("no state was kept as `{label}`"),
    )
}
