//! Who owns a container, and how it goes when the owner does.

use std::path::Path;
use std::time::Duration;

use super::engine::Engine;
use super::error::Result;
use super::registry::{Entry, Record, Registry};

/// How long a destructor may wait for the engine; what it could not remove, the next sweep does.
const DROP_WITHIN: Duration = Duration::from_secs(10);

/// A container's entry in the registry together with the duty to remove the container.
#[derive(Debug)]
pub(super) struct Lease {
    engine: Engine,
    container: String,
    entry: Option<Entry>,
}

impl Lease {
    /// Registers a container that is about to be made.
    pub(super) fn take(engine: &Engine, registry: &Registry, record: &Record) -> Result<Self> {
        let entry = Some(registry.register(record)?);
        Ok(Self {
            engine: engine.clone(),
            container: record.container.clone(),
            entry,
        })
    }

    /// The container's name.
    pub(super) fn container(&self) -> &str {
        &self.container
    }

    /// Removes the container, then its entry. If the engine refuses, the entry stays for a sweep.
    pub(super) async fn end(mut self) -> Result<()> {
        self.engine.remove(&self.container).await?;
        // Taken only now: until here a dropped future leaves the work to the destructor.
        self.entry.take().map_or(Ok(()), Entry::release)
    }
}

/// The net below [`Lease::end`]: for panics, early returns and cancelled futures.
///
/// It works on a thread and a runtime of its own, because it may run outside of any runtime, or on
/// one that cannot block.
impl Drop for Lease {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else {
            return;
        };
        let (engine, container) = (self.engine.clone(), self.container.clone());
        let remove = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let removed = runtime.block_on(async {
                tokio::time::timeout(DROP_WITHIN, engine.remove(&container))
                    .await
                    .is_ok_and(|removed| removed.is_ok())
            });
            if removed && entry.release().is_ok() {
                return;
            }
            tracing::warn!(
                container,
                "a container could not be removed; the next sweep will try again"
            );
        };
        if let Ok(worker) = std::thread::Builder::new()
            .name("container-drop".to_owned())
            .spawn(remove)
        {
            // A panic there was printed there; a destructor adds none.
            let _ = worker.join();
        }
    }
}

/// Removes every container whose owner is gone, and says which there were, by name.
///
/// The owners of the containers that are registered in this folder are asked for by their locks;
/// containers of live owners, of other folders and of others' making are left alone. Each
/// [`ContainerServer::start`](super::ContainerServer::start) does this first.
///
/// # Errors
/// If there is no engine, or the registry cannot be read. If the engine refuses to remove some
/// container, the others are removed all the same and the first refusal is returned.
pub async fn sweep_containers(registry_dir: &Path) -> Result<Vec<String>> {
    sweep(&Engine::connect().await?, &Registry::open(registry_dir)?).await
}

pub(super) async fn sweep(engine: &Engine, registry: &Registry) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    let mut refusal = Ok(());
    for entry in registry.abandoned()? {
        let Some(record) = entry.record() else {
            entry.release()?;
            continue;
        };
        if record.engine != engine.address() {
            continue;
        }
        let container = record.container.clone();
        match engine.remove(&container).await {
            Ok(existed) => {
                entry.release()?;
                removed.extend(existed.then_some(container));
            }
            Err(error) => refusal = refusal.and(Err(error)),
        }
    }
    // The engine may finish making a container after its owner was killed and its entry swept.
    for container in engine.labelled(&registry_label(registry)).await? {
        if registry.has(&container) {
            continue;
        }
        match engine.remove(&container).await {
            Ok(existed) => removed.extend(existed.then_some(container)),
            Err(error) => refusal = refusal.and(Err(error)),
        }
    }
    refusal.map(|()| removed)
}

/// The label by which a container says in which folder its entry is, as a filter of the engine.
fn registry_label(registry: &Registry) -> String {
    format!("{REGISTRY_LABEL}={}", registry.id())
}

/// The name of that label.
pub(super) const REGISTRY_LABEL: &str = "upgrade.registry";
