//! The user that runs a program of the server: ourselves, or somebody unprivileged when we are root.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{Gid, Uid};

use super::account::Account;
use super::error::ServerError;

pub(super) const PASSWD: &str = "/etc/passwd";

/// Postgres refuses to run as root, so root runs it as somebody else.
#[derive(Debug, Clone)]
pub(super) struct RunUser {
    name: String,
    /// User and group to change to; `None` when the program runs as ourselves.
    ids: Option<(u32, u32)>,
    /// The number is given to one server for as long as this is held.
    account: Option<Arc<Account>>,
}

impl RunUser {
    /// This process's own user.
    pub(super) fn ourselves() -> Self {
        Self {
            name: format!("uid {}", rustix::process::geteuid().as_raw()),
            ids: None,
            account: None,
        }
    }

    /// The user for programs that run nothing of a migration's: `postgres --version`, `initdb`.
    /// The latter insists on a name for its number, so as root it is one of `/etc/passwd`.
    pub(super) fn of_this_process() -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::ourselves());
        }
        let passwd =
            fs::read_to_string(PASSWD).map_err(ServerError::io("read", Path::new(PASSWD)))?;
        let (name, ids) = unprivileged(&passwd).ok_or(ServerError::NoUnprivilegedUser)?;
        Ok(Self {
            name,
            ids: Some(ids),
            account: None,
        })
    }

    /// The user for the server in `directory`: as root one that owns nothing else, see
    /// [`Account`].
    pub(super) fn for_server(directory: &Path) -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::ourselves());
        }
        Account::take(directory).map(Self::with_account)
    }

    /// The user of a server whose owner has ended; ourselves where it is somebody else's by now.
    pub(super) fn of_abandoned(directory: &Path, data: &Path) -> Result<Self, ServerError> {
        let owner = match fs::symlink_metadata(data) {
            Ok(facts) if rustix::process::geteuid().is_root() => facts.uid(),
            _ => return Ok(Self::ourselves()),
        };
        let account = Account::adopt(owner, directory)?;
        Ok(account.map_or_else(Self::ourselves, Self::with_account))
    }

    fn with_account(account: Account) -> Self {
        Self {
            name: account.id.to_string(),
            ids: Some((account.id, account.id)),
            account: Some(Arc::new(account)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether programs run under another user than this process.
    pub(super) fn is_other(&self) -> bool {
        self.ids.is_some()
    }

    /// Makes the command run as this user.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
    }

    /// Makes a file or directory belong to this user; follows no symbolic link.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        match self.ids {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// As [`Self::give`], for what is open.
    pub(super) fn give_open(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let Some((uid, gid)) = self.ids else {
            return Ok(());
        };
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        Ok(())
    }

    /// Ends every process of a user that is one server's alone; of any other user none.
    ///
    /// # Errors
    /// [`ServerError::Timeout`] when one does not go away.
    pub(super) fn end_processes(&self) -> Result<(), ServerError> {
        match &self.account {
            Some(account) => account.end_processes(),
            None => Ok(()),
        }
    }

    /// The first directory on the way to `path` that this user may not pass, if any. Directories
    /// that do not exist yet count as open, since we shall make them.
    pub(super) fn closed_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        let (uid, gid) = self.ids?;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors.into_iter().find_map(|folder| {
            let metadata = fs::metadata(folder).ok()?;
            let passes = if metadata.uid() == uid {
                metadata.mode() & 0o100 != 0
            } else if metadata.gid() == gid {
                metadata.mode() & 0o010 != 0
            } else {
                metadata.mode() & 0o001 != 0
            };
            (!passes).then(|| folder.to_owned())
        })
    }

    /// Fails if this user cannot reach `path`.
    pub(super) fn check_reach(&self, path: &Path, hint: &'static str) -> Result<(), ServerError> {
        match self.closed_on_the_way(path) {
            None => Ok(()),
            Some(closed) => Err(ServerError::Unreachable {
                user: self.name.clone(),
                path: path.to_owned(),
                closed,
                hint,
            }),
        }
    }
}

/// Name, number and group of each line.
fn lines(passwd: &str) -> impl Iterator<Item = (&str, (u32, u32))> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else {
            return None;
        };
        Some((name, (uid.parse().ok()?, gid.parse().ok()?)))
    })
}

/// Whether a number belongs to somebody.
pub(super) fn is_listed(passwd: &str, id: u32) -> bool {
    lines(passwd).any(|(_, (uid, _))| uid == id)
}

/// `nobody`, else anybody but root.
fn unprivileged(passwd: &str) -> Option<(String, (u32, u32))> {
    let others = || lines(passwd).filter(|(_, (uid, gid))| *uid != 0 && *gid != 0);
    others()
        .find(|(name, _)| *name == "nobody")
        .or_else(|| others().next())
        .map(|(name, ids)| (name.to_owned(), ids))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_user_for_initdb_is_nobody_or_else_anybody_but_root() {
        let lines = "root:x:0:0::/root:/bin/sh\nbad:x:y:1::\nnobody2:x:7:7::/:/bin/sh\n\
                     nobody:x:65534:65533:n:/:/x\n";
        assert_eq!(
            unprivileged(lines),
            Some(("nobody".to_owned(), (65534, 65533)))
        );
        let without: String = lines
            .lines()
            .take(3)
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(unprivileged(&without), Some(("nobody2".to_owned(), (7, 7))));
        assert_eq!(unprivileged("root:x:0:0::/:/bin/sh\n+::::::\n"), None);
        assert!(is_listed(lines, 7) && !is_listed(lines, 8));
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        let closed = open.join("closed");
        fs::create_dir_all(&closed).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let nobody = RunUser {
            name: "nobody".to_owned(),
            ids: Some((4_000_000, 4_000_000)),
            account: None,
        };
        assert_eq!(nobody.closed_on_the_way(&open.join("later")), None);
        assert_eq!(
            nobody.closed_on_the_way(&closed.join("later")),
            Some(closed)
        );
        assert_eq!(
            RunUser::ourselves().closed_on_the_way(Path::new("/root/x")),
            None
        );
    }
}
