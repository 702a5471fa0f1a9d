//! Who owns containers, networks and volumes, and how they go when the owner does.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::engine::Engine;
use super::error::Result;
use super::registry::{Entry, Owner, Registry, Resource};

/// The label that says in which registry folder the entry is.
pub(crate) const REGISTRY_LABEL: &str = "upgrade.registry";
/// The label that says which entry it is.
pub(crate) const ENTRY_LABEL: &str = "upgrade.entry";

/// How long a destructor may wait for the engine; what it could not remove, the next sweep does.
const DROP_WITHIN: Duration = Duration::from_secs(10);

/// An entry in the registry together with the duty to remove what it names.
#[derive(Debug)]
pub(crate) struct Lease {
    engine: Engine,
    labels: HashMap<String, String>,
    entry: Mutex<Option<Entry>>,
    shared: Option<Shared>,
}

/// What the last one of several owners needs.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    name: String,
    /// How long everything stays after the last owner has left.
    linger: Duration,
}

impl Lease {
    /// Registers an owner under a name that nobody else has.
    pub(crate) async fn take(
        engine: &Engine,
        registry: &Registry,
        name: &str,
        run: &str,
        shared: Option<Duration>,
    ) -> Result<Self> {
        let owner = Owner {
            run: run.to_owned(),
            pid: std::process::id(),
            engine: engine.address().to_owned(),
        };
        let labels = [
            ("upgrade.run", run.to_owned()),
            ("upgrade.owner-pid", owner.pid.to_string()),
            (REGISTRY_LABEL, registry.id().to_owned()),
            (ENTRY_LABEL, name.to_owned()),
        ];
        let entry = registry.register(name, &owner, shared.is_some()).await?;
        Ok(Self {
            engine: engine.clone(),
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            entry: Mutex::new(Some(entry)),
            shared: shared.map(|linger| Shared {
                registry: registry.clone(),
                name: name.to_owned(),
                linger,
            }),
        })
    }

    /// Becomes one more owner of what is shared; `None` if it was removed, or is about to be.
    pub(crate) fn join(
        engine: &Engine,
        registry: &Registry,
        name: &str,
        linger: Duration,
    ) -> Result<Option<Self>> {
        let Some(entry) = registry.join(name)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            engine: engine.clone(),
            labels: HashMap::new(),
            entry: Mutex::new(Some(entry)),
            shared: Some(Shared {
                registry: registry.clone(),
                name: name.to_owned(),
                linger,
            }),
        }))
    }

    /// Whether everything goes with this owner. One of several owners leaves it to the others; the
    /// last one has the entry for itself afterwards, or leaves it for a while.
    fn is_last(&self) -> Result<bool> {
        let Some(shared) = &self.shared else {
            return Ok(true);
        };
        // Its lock goes with it; whoever gets the entry now is the last one.
        drop(self.entry(Option::take));
        let Some(mut entry) = shared.registry.take(&shared.name)? else {
            return Ok(false);
        };
        if !shared.linger.is_zero() {
            entry.keep_until(SystemTime::now() + shared.linger)?;
            return Ok(false);
        }
        self.entry(|slot| *slot = Some(entry));
        Ok(true)
    }

    /// Names a thing that is about to be made.
    pub(crate) fn add(&self, resource: &Resource) -> Result<()> {
        self.entry(|entry| entry.as_mut().map_or(Ok(()), |entry| entry.add(resource)))
    }

    /// The labels that all that is made has to bear.
    pub(crate) fn labels(&self) -> &HashMap<String, String> {
        &self.labels
    }

    /// Removes everything, then the entry, unless others own it too. If the engine refuses, the
    /// entry stays for a sweep.
    pub(crate) async fn end(self) -> Result<()> {
        self.end_if_last().await.map(drop)
    }

    /// Ends it at once, if nobody else owns it; says whether that was so.
    pub(crate) async fn give_up(mut self) -> Result<bool> {
        if let Some(shared) = &mut self.shared {
            shared.linger = Duration::ZERO;
        }
        self.end_if_last().await
    }

    async fn end_if_last(self) -> Result<bool> {
        if !self.is_last()? {
            return Ok(false);
        }
        let resources = self.resources();
        remove_all(&self.engine, &resources).await?;
        // Taken only now: until here a dropped future leaves the work to the destructor.
        self.entry(Option::take).map_or(Ok(()), Entry::release)?;
        Ok(true)
    }

    /// Leaves everything as it is, for anybody who wants to look, until its time is over.
    pub(crate) fn keep_until(self, until: SystemTime) -> Result<()> {
        let Some(mut entry) = self.entry(Option::take) else {
            return Ok(());
        };
        entry.keep_until(until)
    }

    fn resources(&self) -> BTreeSet<Resource> {
        self.entry(|entry| {
            let record = entry.as_ref().and_then(Entry::record);
            record
                .map(|record| record.resources.clone())
                .unwrap_or_default()
        })
    }

    fn entry<T>(&self, act: impl FnOnce(&mut Option<Entry>) -> T) -> T {
        act(&mut self.entry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The net below [`Lease::end`]: for panics, early returns and cancelled futures.
///
/// It works on its own thread and runtime, because it may run outside of any runtime, or on one
/// that cannot block.
impl Drop for Lease {
    fn drop(&mut self) {
        if self.entry(|entry| entry.is_none()) || !self.is_last().unwrap_or(false) {
            return;
        }
        let resources = self.resources();
        let Some(entry) = self.entry(Option::take) else {
            return;
        };
        let engine = self.engine.clone();
        let remove = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let removed = runtime.block_on(async {
                let all = remove_all(&engine, &resources);
                let removed = tokio::time::timeout(DROP_WITHIN, all).await;
                removed.is_ok_and(|removed| removed.is_ok())
            });
            if removed && entry.release().is_ok() {
                return;
            }
            tracing::warn!(
                ?resources,
                "not everything could be removed; the next sweep will try again"
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

/// Removes all containers, networks and volumes whose owner has ended, and returns their names.
///
/// The owners that are registered in this folder are asked for by their locks; what belongs to live
/// owners, to other folders and to others is left alone, and so is what somebody keeps for a while.
/// Whatever this library starts in containers does this first.
///
/// # Errors
/// If there is no engine, or the registry cannot be read. If the engine refuses to remove something,
/// the rest is removed all the same and the first refusal is returned.
pub async fn sweep(registry_dir: &Path) -> Result<Vec<Resource>> {
    sweep_with(&Engine::connect().await?, &Registry::open(registry_dir)?).await
}

/// Sweeps before something is started. Somebody's leftovers are no reason to refuse that, so what
/// goes wrong is only logged.
pub(crate) async fn sweep_first(engine: &Engine, registry: &Registry) {
    if let Err(error) = sweep_with(engine, registry).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "abandoned containers could not be swept"
        );
    }
}

async fn sweep_with(engine: &Engine, registry: &Registry) -> Result<Vec<Resource>> {
    let mut removed = Vec::new();
    let mut refusal = Ok(());
    for entry in registry.abandoned()? {
        let Some(record) = entry.record() else {
            entry.release()?;
            continue;
        };
        if record.owner.engine != engine.address() {
            continue;
        }
        match remove_all(engine, &record.resources).await {
            Ok(gone) => {
                entry.release()?;
                removed.extend(gone);
            }
            Err(error) => refusal = refusal.and(Err(error)),
        }
    }
    // The engine may finish making a thing after its owner was killed and its entry swept.
    let label = format!("{REGISTRY_LABEL}={}", registry.id());
    let labelled = engine.labelled(&label).await?;
    let without_entry: BTreeSet<Resource> = labelled
        .into_iter()
        .filter(|found| {
            !found
                .entry
                .as_ref()
                .is_some_and(|entry| registry.has(entry))
        })
        .map(|found| found.resource)
        .collect();
    match remove_all(engine, &without_entry).await {
        Ok(gone) => removed.extend(gone),
        Err(error) => refusal = refusal.and(Err(error)),
    }
    refusal.map(|()| removed)
}

/// Removes things in their order; says which there were. The first refusal is returned after all
/// were tried.
pub(super) async fn remove_all(
    engine: &Engine,
    resources: &BTreeSet<Resource>,
) -> Result<Vec<Resource>> {
    let mut removed = Vec::new();
    let mut refusal = Ok(());
    for kind in ["container", "network", "volume"] {
        let of_kind = resources.iter().filter(|resource| resource.kind() == kind);
        let gone = futures_util::future::join_all(of_kind.map(async |resource| {
            let existed = engine.remove(resource).await?;
            Ok(existed.then(|| resource.clone()))
        }));
        for outcome in gone.await {
            match outcome {
                Ok(existed) => removed.extend(existed),
                Err(error) => refusal = refusal.and(Err(error)),
            }
        }
    }
    refusal.map(|()| removed)
}
