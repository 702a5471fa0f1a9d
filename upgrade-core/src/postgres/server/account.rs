//! Accounts of servers: a separate numeric user for each server that root starts.
//!
//! A migration may run programs (`copy .. to program`) as the user of its server. So no two
//! servers share a user, and the user owns nothing else on the machine: it is a number without an
//! entry in `/etc/passwd`, out of a range that no distribution gives to anybody. `postgres` itself
//! needs no entry; only `initdb` does, and that runs nothing of a migration's.
//!
//! ```text
//! /run/upgrade-accounts/       one registry for each namespace of processes, of root alone
//! └── 1879048192               locked by the process whose server has that number; holds the path
//!                              of the server's directory
//! ```
//!
//! A number is given out again when its lock is free and the directory was removed. Whatever still
//! runs under the number then is ended first: nobody else can have started it.

use std::fs;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::directories::check_ours;
use super::error::ServerError;
use super::{files, processes};
use crate::lease::FileLease;

/// Numbers that no distribution, container manager or service manager gives out. In blocks, so
/// that containers that share the users of their machine do not share numbers.
const WIDE: RangeInclusive<u32> = 1_879_048_192..=2_147_352_575;

/// The same where a user namespace knows 65,536 users only.
const NARROW: RangeInclusive<u32> = 60_706..=61_183;

/// How many servers may run at once in one namespace of processes.
const BLOCK: u32 = 1024;

/// Where the registry may lie; the first in which it can be made.
const PLACES: [&str; 3] = ["/run", "/var/run", "/dev/shm"];

const REGISTRY: &str = "upgrade-accounts";

/// A number that a server of this process has for as long as this lives.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: u32,
    /// Held, never read.
    _lock: FileLease,
}

impl Account {
    /// Takes a free number for the server in `directory`.
    ///
    /// # Errors
    /// [`ServerError::NoAccount`] when there is none.
    pub(super) fn take(directory: &Path) -> Result<Self, ServerError> {
        let maps = ["uid_map", "gid_map"]
            .map(|name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default());
        let Some(range) = range(&maps, process_namespace()) else {
            return Err(ServerError::NoAccount {
                reason: "this user namespace maps none of the numbers that a server may run under",
            });
        };
        let registry = registry()?;
        let passwd = fs::read_to_string(super::user::PASSWD).unwrap_or_default();
        for id in range {
            if super::user::is_listed(&passwd, id) {
                continue;
            }
            if let Some(account) = Self::try_take(&registry, id, directory)? {
                return Ok(account);
            }
        }
        Err(ServerError::NoAccount {
            reason: "every number that a server may run under is taken",
        })
    }

    fn try_take(registry: &Path, id: u32, directory: &Path) -> Result<Option<Self>, ServerError> {
        let path = registry.join(id.to_string());
        let Some(mut lock) = files::try_lock(&path)? else {
            return Ok(None);
        };
        match read(&mut lock)? {
            // A directory that is kept, or that no sweep has removed yet.
            Some(last) if fs::symlink_metadata(&last).is_ok() => return Ok(None),
            Some(_) => {
                if let Err(error) = processes::end_user(id) {
                    tracing::warn!(id, %error, "processes of a removed server do not end");
                    return Ok(None);
                }
            }
            // It was never ours: who runs under it is a stranger, and is left alone.
            None if !processes::of_user(id).is_empty() => return Ok(None),
            None => {}
        }
        let file = lock.file();
        file.set_len(0)
            .and_then(|()| file.write_all(directory.as_os_str().as_bytes()))
            .map_err(ServerError::io("write", &path))?;
        Ok(Some(Self { id, _lock: lock }))
    }

    /// Takes over the number of a server whose owner has ended, if the number is still that of this
    /// directory.
    pub(super) fn adopt(id: u32, directory: &Path) -> Result<Option<Self>, ServerError> {
        if !WIDE.contains(&id) && !NARROW.contains(&id) {
            return Ok(None);
        }
        let path = registry()?.join(id.to_string());
        let Some(mut lock) = files::try_lock(&path)? else {
            return Ok(None);
        };
        let ours = read(&mut lock)?.is_some_and(|registered| registered == directory);
        Ok(ours.then_some(Self { id, _lock: lock }))
    }

    /// Ends every process of the account, whatever session or group it has made for itself.
    ///
    /// # Errors
    /// [`ServerError::Timeout`] when one does not go away.
    pub(super) fn end_processes(&self) -> Result<(), ServerError> {
        processes::end_user(self.id)
    }
}

/// The directory that a number was given to last.
fn read(lock: &mut FileLease) -> Result<Option<PathBuf>, ServerError> {
    let bytes = lock.read();
    let bytes = bytes.map_err(ServerError::io("read", lock.path()))?;
    Ok((!bytes.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(bytes))))
}

fn registry() -> Result<PathBuf, ServerError> {
    let mut failed = None;
    for place in PLACES {
        let path = Path::new(place).join(REGISTRY);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                failed.get_or_insert(ServerError::io("create", &path)(error));
            }
            _ => {
                check_ours(&path)?;
                return Ok(path);
            }
        }
    }
    Err(failed.expect("each place was tried"))
}

/// The number of the namespace of processes that we live in: containers differ in it.
fn process_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |facts| facts.ino())
}

/// The numbers of this namespace. `maps` are the texts of `uid_map` and `gid_map`, empty where the
/// system has none.
fn range(maps: &[String; 2], namespace: u64) -> Option<RangeInclusive<u32>> {
    let blocks = u64::from((WIDE.end() - WIDE.start() + 1) / BLOCK);
    let block = u32::try_from(namespace % blocks).expect("the range has fewer blocks");
    let first = WIDE.start() + block * BLOCK;
    let known = |range: &RangeInclusive<u32>| maps.iter().all(|map| is_mapped(map, range));
    [first..=first + BLOCK - 1, NARROW].into_iter().find(known)
}

/// Whether one line of a map covers the range: `INSIDE OUTSIDE COUNT`.
fn is_mapped(map: &str, range: &RangeInclusive<u32>) -> bool {
    map.is_empty()
        || map.lines().any(|line| {
            let numbers: Vec<u64> = line
                .split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect();
            matches!(numbers[..], [inside, _, count]
                if inside <= u64::from(*range.start()) && u64::from(*range.end()) < inside + count)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_the_namespace_maps() {
        let maps = |map: &str| [map.to_owned(), map.to_owned()];
        let whole = "         0          0 4294967295\n";
        assert_eq!(range(&maps(whole), 1), Some(1_879_049_216..=1_879_050_239));
        assert_eq!(range(&maps(""), 0), Some(1_879_048_192..=1_879_049_215));
        assert_eq!(range(&maps("0 100000 65536\n"), 7), Some(NARROW));
        assert_eq!(range(&maps("0 1000 1\n"), 7), None);
        let half = [whole.to_owned(), "0 100000 65536\n".to_owned()];
        assert_eq!(range(&half, 7), Some(NARROW));
        // The last block lies in the range as well.
        let last = range(&maps(whole), 262_015).unwrap();
        assert!(WIDE.contains(last.end()), "{last:?}");
    }

    #[test]
    fn a_number_is_given_out_again_when_its_directory_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (registry, server) = (folder.path().join("registry"), folder.path().join("server"));
        fs::create_dir_all(&registry).unwrap();
        fs::create_dir(&server).unwrap();
        // A number of nobody's: nothing runs under it, and nothing is started.
        let take =
            |directory: &Path| Account::try_take(&registry, 2_147_352_574, directory).unwrap();
        let held = take(&server).unwrap();
        assert!(take(&server).is_none(), "it is held");
        drop(held);
        assert!(take(&server).is_none(), "its directory is there");
        fs::remove_dir(&server).unwrap();
        assert!(take(&server).is_some());
    }

    #[test]
    fn a_number_of_a_stranger_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert!(
            Account::try_take(folder.path(), own, folder.path())
                .unwrap()
                .is_none(),
            "this process runs under it, and nobody registered that"
        );
    }
}
