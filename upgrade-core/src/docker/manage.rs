//! What runs in the engine on behalf of this library, for a tool to put on a screen.

use std::path::Path;
use std::time::SystemTime;

use super::engine::Engine;
use super::error::Result;
use super::lease::remove_all;
use super::registry::{Entry, Record, Registry, Resource};
use crate::error::{Error, ErrorKind};

/// An environment or a server, as its entry in the registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// Its name: the beginning of the names of its containers, networks and volumes.
    pub name: String,
    /// The run that it belongs to.
    pub run: String,
    /// The process that made it.
    pub owner: u32,
    /// Whether that process still has it. Without it the ports on this machine are closed; the
    /// containers run on.
    pub owned: bool,
    /// Until when it stays without an owner. Without this time, the next sweep removes it.
    pub kept_until: Option<SystemTime>,
    /// What was made for it, or was about to be.
    pub resources: Vec<Resource>,
}

/// All that is registered in a folder, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(registry_dir: &Path) -> Result<Vec<Registered>> {
    let registry = Registry::open(registry_dir)?;
    let mut all = Vec::new();
    for name in registry.names()? {
        // An entry that can be taken has no owner. The entry is released at once.
        let owned = registry.take(&name)?.is_none();
        if let Some(record) = registry.read(&name)? {
            all.push(described(record, owned));
        }
    }
    Ok(all)
}

/// Has something stay until another time.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing of that name is registered, [`ErrorKind::Refused`] when its
/// owner still has it: it stays anyway, and its owner decides.
pub fn keep_until(registry_dir: &Path, name: &str, until: SystemTime) -> crate::Result<()> {
    let registry = Registry::open(registry_dir)?;
    let mut entry = take(&registry, name)?;
    Ok(entry.keep_until(until)?)
}

/// Removes something that nobody owns, whether it was to be kept or not.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing of that name is registered, [`ErrorKind::Refused`] when its
/// owner still has it, and what the engine refuses.
pub async fn remove(registry_dir: &Path, name: &str) -> crate::Result<Vec<Resource>> {
    let registry = Registry::open(registry_dir)?;
    let engine = Engine::connect().await?;
    let entry = take(&registry, name)?;
    let resources = entry.record().map(|record| record.resources.clone());
    let removed = remove_all(&engine, &resources.unwrap_or_default()).await?;
    entry.release()?;
    Ok(removed)
}

fn take(registry: &Registry, name: &str) -> crate::Result<Entry> {
    match registry.take(name)? {
        Some(entry) => Ok(entry),
        None if registry.has(name) => Err(Error::new(
            ErrorKind::Refused,
            format!("`{name}` still has its owner"),
        )
        .with_hint("end that process first")),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!("nothing is registered as `{name}`"),
        )),
    }
}

fn described(record: Record, owned: bool) -> Registered {
    Registered {
        name: record.name,
        run: record.owner.run,
        owner: record.owner.pid,
        owned,
        kept_until: record.kept_until,
        resources: record.resources.into_iter().collect(),
    }
}
