//! The user that runs a server: ourselves, or an unprivileged one when we are root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::ServerError;

const PASSWD: &str = "/etc/passwd";

/// Postgres refuses to run as root, so root runs it as somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunUser {
    name: String,
    /// User and group to change to; `None` when the server runs as ourselves.
    ids: Option<(u32, u32)>,
}

impl RunUser {
    /// The user for servers of this process.
    pub(super) fn of_this_process() -> Result<Self, ServerError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Ok(Self {
                name: format!("uid {}", uid.as_raw()),
                ids: None,
            });
        }
        let passwd =
            fs::read_to_string(PASSWD).map_err(ServerError::io("read", Path::new(PASSWD)))?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                ids_of(&passwd, name).map(|ids| Self {
                    name: name.to_owned(),
                    ids: Some(ids),
                })
            })
            .ok_or(ServerError::NoUnprivilegedUser)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether commands run under another user than this process.
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

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let _password = fields.next()?;
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LINES: &str = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\nnobody:x:65534:65533:n:/:/x\nbad:x:y:1::\n";

    #[test]
    fn ids_come_from_the_line_of_exactly_that_name() {
        assert_eq!(ids_of(LINES, "nobody"), Some((65534, 65533)));
        assert_eq!(ids_of(LINES, "postgres"), None);
        assert_eq!(ids_of(LINES, "bad"), None);
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
        };
        assert_eq!(nobody.closed_on_the_way(&open.join("later")), None);
        assert_eq!(
            nobody.closed_on_the_way(&closed.join("later")),
            Some(closed)
        );
        let ourselves = RunUser {
            name: "me".to_owned(),
            ids: None,
        };
        assert_eq!(ourselves.closed_on_the_way(Path::new("/root/x")), None);
    }
}
