//! A copy of a store, made for one run and removed after it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use upgrade_core::environment::{
    At, DatabaseFaults, Endpoint, Endpoints, Fault, LogTail, Snapshots,
};
use upgrade_core::observation::{Observation, Scope};
use upgrade_core::{Environment, Error, ErrorKind, Result, UpgradeContext};

use crate::observe::{collections, observe};
use crate::store::{Image, Lock, STORE, Store, at, files, parse, put, text, to_json};

/// Copies of the store in one directory, made in another.
///
/// Each copy has a folder under the root, and beside it a lease: a file whose lock dies with its
/// owner. The next one that is made sweeps what no live owner holds.
#[derive(Debug)]
pub struct KvEnvironment {
    root: PathBuf,
    source: PathBuf,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    /// The folder: the store, the states that are kept of it, and what a rollback keeps.
    home: PathBuf,
    lease: Lock,
    ready: bool,
}

impl KvEnvironment {
    /// An environment under `root`, with the files of the store in `source`, which are only read.
    pub fn new(root: impl Into<PathBuf>, source: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            source: source.into(),
            made: Mutex::default(),
        }
    }

    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        // It is only ever replaced as a whole, so a panic leaves nothing half done.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self) -> Result<PathBuf> {
        let home = self.made().as_ref().map(|made| made.home.clone());
        home.ok_or_else(|| Error::new(ErrorKind::Environment, "the store is not prepared"))
    }

    /// Reserves a folder, before anything is in it.
    async fn register(&self, cx: &UpgradeContext) -> Result<PathBuf> {
        if let Ok(home) = self.home() {
            return Ok(home); // An earlier call did not come to its end.
        }
        fs::create_dir_all(&self.root).map_err(at(&self.root))?;
        let _one_at_a_time = Lock::take(cx, &self.root.join(".registry"), File::try_lock).await?;
        sweep(&self.root)?;
        let homes = (0..).map(|n| self.root.join(format!("{}-{n}", cx.run_id())));
        let mut free = homes.filter(|home| !lease_of(home).exists());
        let home = free.next().unwrap_or_default();
        let lease = Lock::try_take(&lease_of(&home), File::try_lock)?;
        let lease = lease.ok_or_else(|| Error::new(ErrorKind::Internal, "a new lease is taken"))?;
        *self.made() = Some(Made {
            home: home.clone(),
            lease,
            ready: false,
        });
        Ok(home)
    }

    fn label(&self, label: &str) -> Result<PathBuf> {
        let name = blake3::hash(label.as_bytes()).to_hex();
        Ok(self.home()?.join(format!("label-{name}.json")))
    }

    fn kept(&self, label: &str) -> Result<Image> {
        let kept = text(&self.label(label)?)?.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("label `{label}` was never taken"),
            )
        })?;
        parse(label, &kept)
    }
}

#[async_trait]
impl Environment for KvEnvironment {
    fn name(&self) -> &str {
        "key-value store"
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
        if self.made().as_ref().is_some_and(|made| made.ready) {
            return Ok(());
        }
        let store = self.register(cx).await?.join("store");
        fs::create_dir_all(&store).map_err(at(&store))?;
        let failed = |source| {
            let message = format!("no store can be made of `{}`", self.source.display());
            Error::new(ErrorKind::Environment, message).with_source(source)
        };
        let files = files(&self.source).map_err(failed)?;
        for (name, text) in &files {
            cx.bounded("copy the store", tokio::task::yield_now())
                .await?;
            put(&store.join(name), Some(text))?;
        }
        collections(&files).map_err(failed)?;
        if let Some(made) = &mut *self.made() {
            made.ready = true;
        }
        Ok(())
    }

    fn endpoints(&self) -> Endpoints {
        let none = Endpoints::default();
        match &*self.made() {
            Some(made) if made.ready => {
                let url = format!("file://{}", made.home.join("store").display());
                none.with(STORE, Endpoint::new(url))
            }
            _ => none,
        }
    }

    async fn observe(&self, cx: &UpgradeContext, at: &At, scope: &Scope) -> Result<Observation> {
        match at {
            At::Live => observe(&Store::of(cx)?.read(cx).await?.files, scope),
            At::Snapshot(label) => observe(&self.kept(label)?, scope),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "it does not know this state",
            )),
        }
    }

    async fn logs(&self, _: &UpgradeContext, _: usize) -> Result<Vec<LogTail>> {
        Ok(Vec::new()) // Nothing runs that could write one.
    }

    async fn teardown(&self, _: &UpgradeContext) -> Result<()> {
        let made = self.made().take();
        made.map_or(Ok(()), |made| {
            let removed = remove(&made.home);
            drop(made.lease);
            removed
        })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
        Some(self)
    }
}

#[async_trait]
impl Snapshots for KvEnvironment {
    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let image = Store::of(cx)?.read(cx).await?.complete()?;
        put(&self.label(label)?, Some(&to_json(&image)?))
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let image = self.kept(label)?;
        let mut session = Store::of(cx)?
            .begin(cx, format!("restore of `{label}`"))
            .await?;
        session.replace(cx, &image).await?;
        session.commit()
    }
}

#[async_trait]
impl DatabaseFaults for KvEnvironment {
    fn supports(&self, fault: Fault) -> bool {
        matches!(fault, Fault::TerminateSessions | Fault::KillProcess)
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        let store = Store::of(cx)?;
        match fault {
            // What was left unfinished is undone, as it is by whoever comes next.
            Fault::TerminateSessions => {
                store.terminate_sessions()?;
                store.begin(cx, "recovery").await?.commit()
            }
            Fault::KillProcess => store.begin(cx, "recovery").await?.commit(),
            other => {
                let message = format!("it cannot make this go wrong: {other:?}");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }
}

fn lease_of(home: &Path) -> PathBuf {
    home.with_extension("lease")
}

/// Removes what no live owner holds. Only whoever has the registry's lock may ask.
fn sweep(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(at(root))? {
        let lease = entry.map_err(at(root))?.path();
        let is_lease = lease
            .extension()
            .is_some_and(|extension| extension == "lease");
        if is_lease && let Some(_dead) = Lock::try_take(&lease, File::try_lock)? {
            remove(&lease.with_extension(""))?;
        }
    }
    Ok(())
}

/// Removes a folder, and its lease last: until then it can be swept.
fn remove(home: &Path) -> Result<()> {
    let removed = match fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(lease_of(home)),
    };
    removed.map_err(|source| {
        let message = format!("`{}` is left", home.display());
        Error::new(ErrorKind::Environment, message).with_source(source)
    })
}
