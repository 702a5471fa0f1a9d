//! Where things are kept: the cache that outlives processes, and the homes of running servers.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::ServerError;
use super::profile::Profile;
use super::user::RunUser;

/// The free space, in bytes, that a memory file system must have before a server is put there.
const MEMORY_FLOOR: u64 = 1 << 30;

/// The longest path of a Unix socket, in bytes, without the final zero.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The port of every server; it only names the socket's file, since no TCP port is open.
pub(super) const PORT: u16 = 5432;

/// The cache for binaries and prepared data directories, and the places for running servers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directories {
    /// Fetched binaries and prepared data directories; shared by all processes of a user.
    pub cache: PathBuf,
    /// A file system in memory for throw-away servers; used when it has 1 GiB free.
    pub memory: Option<PathBuf>,
    /// A directory on disk, for durable servers and when there is no room in memory.
    pub disk: PathBuf,
}

impl Directories {
    /// Directories of the caller's choice, all below one folder.
    pub fn below(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            cache: folder.join("cache"),
            memory: None,
            disk: folder.join("run"),
        }
    }

    /// The directories of this machine.
    ///
    /// The cache is `UPGRADE_CACHE_DIR`, else `$XDG_CACHE_HOME/upgrade`, else `~/.cache/upgrade`;
    /// as root, when the user that runs the servers cannot reach that, `/var/cache/upgrade`.
    /// Servers run in `/dev/shm` or below `TMPDIR`.
    ///
    /// # Errors
    /// [`ServerError::InvalidVariable`] when `UPGRADE_CACHE_DIR` is not an absolute path, and
    /// [`ServerError::NoUnprivilegedUser`].
    pub fn from_env() -> Result<Self, ServerError> {
        Self::from_vars(&|name| env::var_os(name))
    }

    pub(super) fn from_vars(var: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ServerError> {
        let user = RunUser::of_this_process()?;
        let temporary = var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let on_memory = is_memory(&temporary);
        Ok(Self {
            cache: cache_directory(var, &user)?,
            memory: cfg!(target_os = "linux").then(|| PathBuf::from("/dev/shm")),
            disk: if on_memory {
                PathBuf::from("/var/tmp")
            } else {
                temporary
            },
        })
    }

    /// The directory that holds the homes of this user's servers with that profile.
    pub(super) fn home_for(&self, profile: Profile) -> PathBuf {
        match &self.memory {
            Some(memory) if profile != Profile::Durable && free_bytes(memory) >= MEMORY_FLOOR => {
                own(memory)
            }
            _ => own(&self.disk),
        }
    }

    /// Every directory that may hold homes of this user's servers.
    pub(super) fn homes(&self) -> Vec<PathBuf> {
        let mut homes: Vec<PathBuf> = self
            .memory
            .iter()
            .chain([&self.disk])
            .map(|place| own(place))
            .collect();
        homes.dedup();
        homes
    }
}

/// This user's part of a shared place.
fn own(place: &Path) -> PathBuf {
    place.join(format!("upgrade-{}", rustix::process::geteuid().as_raw()))
}

fn cache_directory(
    var: &dyn Fn(&str) -> Option<OsString>,
    user: &RunUser,
) -> Result<PathBuf, ServerError> {
    if let Some(named) = var("UPGRADE_CACHE_DIR").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        if named.is_absolute() {
            return Ok(named);
        }
        return Err(ServerError::InvalidVariable {
            variable: "UPGRADE_CACHE_DIR",
            value: named.display().to_string(),
            hint: "it has to be an absolute path",
        });
    }
    // The XDG rules say that a relative path is to be ignored.
    let found = var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            var("HOME")
                .map(|home| Path::new(&home).join(".cache"))
                .filter(|path| path.is_absolute())
        })
        .map(|folder| folder.join("upgrade"));
    Ok(match found {
        Some(folder) if user.closed_on_the_way(&folder).is_none() => folder,
        _ if user.is_other() => PathBuf::from("/var/cache/upgrade"),
        Some(folder) => folder,
        None => own(Path::new("/var/tmp")).join("cache"),
    })
}

/// Bytes that an unprivileged user may still write; 0 when the place cannot be asked.
fn free_bytes(place: &Path) -> u64 {
    rustix::fs::statvfs(place).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize))
}

#[cfg(target_os = "linux")]
fn is_memory(place: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::statfs(place)
        .is_ok_and(|facts| u64::try_from(facts.f_type).is_ok_and(|kind| kind == TMPFS))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_place: &Path) -> bool {
    false
}

/// Makes a directory and those above it that are missing, passable for other users whatever the
/// umask says, because the user that runs the server has to pass them.
pub(super) fn make_passable(path: &Path) -> Result<(), ServerError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o755).create(folder) {
            Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                .map_err(ServerError::io("set the mode of", folder))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ServerError::io("create", folder)(error)),
        }
    }
    Ok(())
}

/// Checks that a directory in a shared place is really ours: another user may have made one of
/// that name before us.
pub(super) fn check_ours(path: &Path) -> Result<(), ServerError> {
    let metadata = fs::symlink_metadata(path).map_err(ServerError::io("read", path))?;
    let insecure = |reason: String| ServerError::Insecure {
        path: path.to_owned(),
        reason,
    };
    if !metadata.is_dir() {
        return Err(insecure("is not a directory".to_owned()));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(insecure(format!("belongs to user {}", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(insecure("can be written by others".to_owned()));
    }
    Ok(())
}

/// Checks that the socket of a server in `directory` has an address.
pub(super) fn check_socket_path(directory: &Path) -> Result<(), ServerError> {
    // The server makes a lock file beside the socket, but only the socket needs an address.
    let path = directory.join(format!(".s.PGSQL.{PORT}"));
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(ServerError::SocketPathTooLong {
            path,
            length,
            limit: SOCKET_PATH_LIMIT,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(pairs: &[(&str, &str)], user: &RunUser) -> Result<PathBuf, ServerError> {
        let pairs: Vec<(String, OsString)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        let var = move |name: &str| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.clone())
        };
        cache_directory(&var, user)
    }

    #[test]
    fn the_cache_is_the_first_that_is_named() {
        let user = RunUser::of_this_process().unwrap();
        let named = [
            ("UPGRADE_CACHE_DIR", "/opt/c"),
            ("XDG_CACHE_HOME", "/opt/x"),
            ("HOME", "/opt/h"),
        ];
        assert_eq!(cache(&named, &user).unwrap(), Path::new("/opt/c"));
        assert_eq!(
            cache(&named[1..], &user).unwrap(),
            Path::new("/opt/x/upgrade")
        );
        assert_eq!(
            cache(&named[2..], &user).unwrap(),
            Path::new("/opt/h/.cache/upgrade")
        );
        let relative = [("XDG_CACHE_HOME", "x"), ("HOME", "/opt/h")];
        assert_eq!(
            cache(&relative, &user).unwrap(),
            Path::new("/opt/h/.cache/upgrade")
        );
    }

    #[test]
    fn a_relative_cache_is_refused() {
        let user = RunUser::of_this_process().unwrap();
        let error = cache(&[("UPGRADE_CACHE_DIR", "here")], &user).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable `UPGRADE_CACHE_DIR` is `here` (it has to be an absolute path)"
        );
    }

    #[test]
    fn a_long_socket_path_is_refused_with_its_length() {
        check_socket_path(Path::new("/dev/shm/upgrade-0/abc")).unwrap();
        let error = check_socket_path(Path::new(&format!("/{}", "x".repeat(100)))).unwrap_err();
        assert!(error.to_string().contains("has 115 bytes"), "{error}");
    }

    #[test]
    fn a_directory_open_to_others_or_a_link_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        make_passable(&place).unwrap();
        check_ours(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            check_ours(&place)
                .unwrap_err()
                .to_string()
                .contains("can be written by others")
        );
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(
            check_ours(&link)
                .unwrap_err()
                .to_string()
                .contains("is not a directory")
        );
    }
}
