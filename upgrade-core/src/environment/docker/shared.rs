//! One environment for several processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::database::{Login, mark};
use super::{DockerEnvironment, Environment, Snapshots};
use crate::context::UpgradeContext;
use crate::docker::engine::Engine;
use crate::docker::lease::Lease;
use crate::docker::registry::Registry;
use crate::docker::share::{Files, Whereabouts};
use crate::docker::staging::Staging;
use crate::docker::{Mount, Sharing, Stack, default_registry_dir};
use crate::environment::{DatabaseSource, Endpoints, LogTail};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{FileLease, Mode};
use crate::postgres::Database;

/// The label of the state that a shared environment begins with.
const FIRST: &str = "shared";

/// An environment that this process uses, and others do as well. Dropped, or killed with its
/// process, it is left; the last user ends it, or else a [sweep](crate::docker::sweep) does.
#[derive(Debug)]
pub struct SharedEnvironment {
    environment: DockerEnvironment,
    /// Held for its lock.
    _use: FileLease,
    started: bool,
    reset_took: Option<Duration>,
}

impl SharedEnvironment {
    /// Where the services can be reached, on an address of this process's own.
    pub fn endpoints(&self) -> Endpoints {
        self.environment.endpoints()
    }

    /// Whether this process has started it.
    pub fn was_started_here(&self) -> bool {
        self.started
    }

    /// How long it took to put the data back, if that was done for this use.
    pub fn reset_took(&self) -> Option<Duration> {
        self.reset_took
    }

    /// Leaves it; the last one ends it.
    ///
    /// # Errors
    /// What the engine refuses.
    pub async fn leave(self, cx: &UpgradeContext) -> Result<()> {
        self.environment.teardown(cx).await
    }
}

impl DockerEnvironment {
    /// Uses the environment of a key, at the release that the context starts at: the one that
    /// another process has started, or else a new one. It is another environment where the key, the
    /// stack or the registry folder is another. What fills it ([`with_data`](Self::with_data)) is
    /// not compared: give the key another name when that changes.
    ///
    /// Before it is used [alone](Sharing::alone), and after somebody had it alone, the database is
    /// put back to what it was filled with. The services run on; their sessions end, and what they
    /// keep in memory they keep.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a stack with volumes beside those of the database, which are
    /// not put back, and with hosts outside, which are reached through the process that has started
    /// it; else those of [`prepare`](Environment::prepare).
    pub async fn share(self, cx: &UpgradeContext, sharing: &Sharing) -> Result<SharedEnvironment> {
        let what = format!("share the environment `{}`", sharing.key);
        let sharing = sharing.clone();
        cx.bounded(&what, Box::pin(self.shared(cx, sharing)))
            .await?
    }

    async fn shared(mut self, cx: &UpgradeContext, sharing: Sharing) -> Result<SharedEnvironment> {
        let stack = self.stack(cx.from())?;
        self.check_sharing(&stack)?;
        let dir = self.registry_dir();
        let registry = Registry::open(&dir)?;
        let files = Files::open(&dir, &sharing.key, &stack.identity())?;
        self.options.shared = Some(sharing.linger);

        let gate = files.gate().await?;
        let joined = match files.whereabouts()? {
            Some(whereabouts) => self.join(cx, &stack, &registry, &whereabouts).await?,
            None => false,
        };
        let mode = match sharing.alone || !joined || files.is_changed() {
            true => Mode::Exclusive,
            false => Mode::Shared,
        };
        let mut used = files.take(mode).await?;
        let mut reset_took = None;
        if !joined {
            self.start_shared(cx, &files).await?;
        } else if sharing.alone || files.is_changed() {
            let begun = Instant::now();
            self.reset(cx).await?;
            reset_took = Some(begun.elapsed());
        }
        files.set_changed(sharing.alone)?;
        if !sharing.alone {
            used = files.share(used, &gate)?;
        }
        drop(gate);
        Ok(SharedEnvironment {
            environment: self,
            _use: used,
            started: !joined,
            reset_took,
        })
    }

    fn registry_dir(&self) -> PathBuf {
        let own = self.options.registry_dir.clone();
        own.unwrap_or_else(default_registry_dir)
    }

    fn check_sharing(&self, stack: &Stack) -> Result<()> {
        let refused = |what: String, hint: &str| {
            let error = Error::new(ErrorKind::Unsupported, format!("{what} cannot be shared"));
            Err(error.with_hint(hint.to_owned()))
        };
        if !self.options.allowed.is_empty() {
            let what = format!("environment `{}`, which reaches hosts outside,", self.name);
            return refused(what, "that way ends with the process that opens it");
        }
        for (name, service) in &stack.services {
            let writes = service.mounts.iter().find_map(|mount| match mount {
                Mount::Volume {
                    name: Some(volume),
                    read_only: false,
                    ..
                } => Some(volume),
                _ => None,
            });
            if name != self.database_service()
                && let Some(volume) = writes
            {
                return refused(
                    format!("volume `{volume}`, into which service `{name}` writes,"),
                    "it would not be put back: give each test its own environment, or have the service do without the volume",
                );
            }
        }
        Ok(())
    }

    /// Becomes a user of an environment that runs; says whether there is one.
    async fn join(
        &self,
        cx: &UpgradeContext,
        stack: &Stack,
        registry: &Registry,
        whereabouts: &Whereabouts,
    ) -> Result<bool> {
        let linger = self.options.shared.unwrap_or_default();
        cx.secrets().add_all(&self.options.secrets);
        let engine = Engine::connect().await?;
        let engine = engine.with_secrets(&self.options.secrets);
        let Some(lease) = Lease::join(&engine, registry, &whereabouts.entry, linger)? else {
            return Ok(false);
        };
        let attached = Staging::attach(
            engine,
            lease,
            &whereabouts.entry,
            stack,
            &whereabouts.containers,
            self.options.clone(),
        );
        let Some(staging) = attached.await?.map(Arc::new) else {
            return Ok(false);
        };
        let login = match &self.database {
            Some(service) => Some(Login::of(stack, service)?),
            None => None,
        };
        let (endpoints, database) = self.endpoints_of(&staging, stack, login.as_ref()).await;
        let database = match (database, &whereabouts.kept) {
            (Some(database), Some(kept)) => {
                let kept = database.sibling(kept);
                let environment = self.over(Filled(database));
                environment.prepare(cx).await?;
                environment.knows(FIRST, kept);
                Some(Arc::new(environment))
            }
            _ => None,
        };
        *self.slot() = Some(Arc::new(super::Running {
            staging,
            endpoints,
            database,
            folder: None,
        }));
        Ok(true)
    }

    /// Starts it, and keeps what it begins with.
    async fn start_shared(&self, cx: &UpgradeContext, files: &Files) -> Result<()> {
        self.prepare(cx).await?;
        let running = self.running()?;
        let mut kept = None;
        if let Some(database) = &running.database {
            self.take(cx, FIRST).await?;
            kept = database.kept(FIRST).map(|kept| kept.name().to_owned());
        }
        let (entry, containers) = running.staging.whereabouts().await;
        Ok(files.note(&Whereabouts {
            entry,
            containers,
            kept,
        })?)
    }

    /// Puts back what it began with.
    async fn reset(&self, cx: &UpgradeContext) -> Result<()> {
        match &self.running()?.database {
            Some(database) => {
                let was_there = database.exists().await?;
                database.restore(cx, FIRST).await?;
                if !was_there {
                    // Somebody was killed who was putting it back, and its mark went with it.
                    let live = database.database()?;
                    mark(cx, &live).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A database that another process has filled.
#[derive(Debug)]
struct Filled(Database);

#[async_trait]
impl DatabaseSource for Filled {
    async fn provision(&self, _: &UpgradeContext) -> Result<Database> {
        Ok(self.0.clone())
    }

    fn is_disposable(&self) -> bool {
        true
    }

    async fn release(&self, _: &UpgradeContext, _: Option<Database>) -> Result<()> {
        Ok(())
    }

    fn log_tail(&self, _: usize) -> Vec<LogTail> {
        Vec::new()
    }
}
