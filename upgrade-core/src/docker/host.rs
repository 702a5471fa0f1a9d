//! What of this machine a service may get: no file that is more than an application's own, and no
//! capability beyond the engine's default, unless it is allowed by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::stack::{Image, Mount, Stack};
use crate::error::{Error, ErrorKind, Result};

/// Trees that belong to the machine. A folder that holds one of them is the whole of it.
const SYSTEM: [&str; 10] = [
    "/boot", "/dev", "/etc", "/home", "/proc", "/run", "/sys", "/var/lib", "/var/log", "/var/run",
];

/// What every container may know of its machine.
const HARMLESS: [&str; 3] = ["/dev/null", "/etc/localtime", "/etc/timezone"];

/// The capabilities that the engine gives a container which asks for none.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The files and folders of this machine that may be used.
#[derive(Debug, Default)]
pub(super) struct HostPaths {
    /// Everything in it may be used; everything outside of it has to be allowed. Without one, only
    /// what belongs to the machine itself has to be.
    project: Option<PathBuf>,
    allowed: Vec<PathBuf>,
}

impl HostPaths {
    pub(super) fn new<'p>(
        project: Option<&Path>,
        allowed: impl IntoIterator<Item = &'p PathBuf>,
    ) -> Self {
        Self {
            project: project.map(real),
            allowed: allowed.into_iter().map(|path| real(path)).collect(),
        }
    }

    /// Why a folder must not be copied into an image: what belongs to the machine. A project may be
    /// built from a folder beside it.
    pub(super) fn refuses_copy(&self, path: &Path) -> Option<String> {
        self.refuses_for(path, true)
    }

    /// Why a file or folder must not be used; links count as what they lead to.
    pub(super) fn refuses(&self, path: &Path) -> Option<String> {
        self.refuses_for(path, false)
    }

    fn refuses_for(&self, path: &Path, copy: bool) -> Option<String> {
        let found = real(path);
        if self.allowed.contains(&found) || HARMLESS.iter().any(|known| path == Path::new(known)) {
            return None;
        }
        let reason = match more_than_a_file(&found, copy) {
            Some(reason) => reason,
            None if self.allowed.iter().any(|folder| found.starts_with(folder)) => return None,
            None => match &self.project {
                Some(project) if found.starts_with(project) => return None,
                Some(project) if !copy => {
                    format!("is outside of the project `{}`", project.display())
                }
                _ => system(&found)?,
            },
        };
        Some(match found == path {
            true => format!("`{}` {reason}", path.display()),
            false => format!(
                "`{}` is `{}`, which {reason}",
                path.display(),
                found.display()
            ),
        })
    }
}

/// Why a path gives more than what is written in files. A project does not change that.
fn more_than_a_file(found: &Path, copy: bool) -> Option<String> {
    let homes = homes();
    let trees = SYSTEM.iter().map(Path::new);
    let mut held = trees.chain(homes.iter().map(PathBuf::as_path));
    if let Some(tree) = held.find(|tree| real(tree).starts_with(found)) {
        return Some(match real(tree) == found {
            true => "belongs to the machine itself".to_owned(),
            false => format!("holds `{}` of the machine itself", tree.display()),
        });
    }
    // A copy has no sockets.
    if copy {
        return None;
    }
    if let Ok(metadata) = fs::metadata(found)
        && !metadata.is_file()
        && !metadata.is_dir()
    {
        return Some(
            "is no file but a socket, a device or a pipe: through it a container reaches the \
             machine, read-only or not"
                .to_owned(),
        );
    }
    let socket = sockets()
        .into_iter()
        .find(|socket| socket.starts_with(found))?;
    Some(format!(
        "holds the socket `{}`: through it a container reaches a program of the machine, \
         read-only or not",
        socket.display()
    ))
}

/// Whether a path is in a tree of the machine, or among the settings of a user.
fn system(found: &Path) -> Option<String> {
    let tree = SYSTEM
        .iter()
        .find(|tree| **tree != "/home" && found.starts_with(real(Path::new(tree))));
    if let Some(tree) = tree {
        return Some(format!(
            "is in `{tree}`, which belongs to the machine itself"
        ));
    }
    homes().iter().find_map(|home| {
        let inside = found.strip_prefix(real(home)).ok()?;
        let Some(Component::Normal(first)) = inside.components().next() else {
            return None;
        };
        first
            .as_encoded_bytes()
            .starts_with(b".")
            .then(|| "is among the settings of a user, who may keep keys there".to_owned())
    })
}

/// The homes of the users that are known without asking.
fn homes() -> Vec<PathBuf> {
    let own = std::env::var_os("HOME").map(PathBuf::from);
    let own = own.filter(|home| home.is_absolute() && home.parent().is_some());
    [PathBuf::from("/root")].into_iter().chain(own).collect()
}

/// The sockets on which programs of this machine listen, where the kernel lists them.
fn sockets() -> BTreeSet<PathBuf> {
    let listed = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let named = listed.lines().filter_map(|line| {
        let (_, path) = line.split_once(" /")?;
        Some(real(&Path::new("/").join(path)))
    });
    named.collect()
}

/// A path with its links followed; what does not exist stands below what does.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(found) = fs::canonicalize(ancestor) {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return match rest.as_os_str().is_empty() {
                true => found,
                false => found.join(rest),
            };
        }
    }
    path.to_owned()
}

/// Whether a capability is more than a container has that asks for none.
pub(super) fn is_more(capability: &str, allowed: &[String]) -> bool {
    let name = capability_name(capability);
    !CAPABILITIES.contains(&name.as_str())
        && !allowed
            .iter()
            .any(|allowed| capability_name(allowed) == name)
}

fn capability_name(capability: &str) -> String {
    let upper = capability.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

/// Why a capability is refused.
pub(super) const MORE: &str = "a capability with which a container is less isolated";

/// How to allow a capability.
pub(super) fn capability_hint(capability: &str) -> String {
    format!("remove it, or allow it by name: `with_capability(\"{capability}\")`")
}

/// How to allow a path.
pub(super) fn path_hint(path: &Path) -> String {
    format!(
        "remove it, or allow it by name: `with_host_path(\"{}\")`",
        path.display()
    )
}

/// Refuses what would let a stack change or use the machine that it runs on.
pub(super) fn check(stack: &Stack) -> Result<()> {
    let paths = HostPaths::new(None, &stack.host_paths);
    let allowed: Vec<String> = stack.capabilities.iter().cloned().collect();
    for (name, service) in &stack.services {
        if let Image::Build(build) = &service.image
            && let Some(why) = paths.refuses_copy(&build.context)
        {
            return Err(refused(format!(
                "the image of service `{name}` would be built from {why}"
            ))
            .with_hint(path_hint(&build.context)));
        }
        for mount in &service.mounts {
            let Mount::Bind {
                source, read_only, ..
            } = mount
            else {
                continue;
            };
            if !read_only {
                let source = source.display();
                return Err(refused(format!(
                    "service `{name}` could write into `{source}`, which is not the environment's own"
                ))
                .with_hint("mount it read-only, or take a volume"));
            }
            if let Some(why) = paths.refuses(source) {
                return Err(refused(format!("service `{name}` would get {why}"))
                    .with_hint(path_hint(source)));
            }
        }
        let more = service.cap_add.iter().find(|one| is_more(one, &allowed));
        if let Some(more) = more {
            return Err(
                refused(format!("service `{name}` asks for `{more}`, {MORE}"))
                    .with_hint(capability_hint(more)),
            );
        }
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Refused, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn why(paths: &HostPaths, path: impl AsRef<Path>) -> String {
        paths.refuses(path.as_ref()).unwrap_or_default()
    }

    #[test]
    fn what_belongs_to_the_machine_is_refused_unless_it_is_named() {
        let any = HostPaths::default();
        for path in [
            "/",
            "/etc",
            "/etc/shadow",
            "/proc",
            "/proc/1/environ",
            "/sys",
            "/dev",
            "/dev/sda",
            "/root",
            "/root/.ssh",
            "/root/.ssh/id_rsa",
            "/home",
            "/var",
            "/run",
            "/var/run",
            "/var/run/docker.sock",
            "/var/lib/docker",
            "/var/lib/postgresql",
            "/boot",
        ] {
            assert_ne!(why(&any, path), "", "{path}");
            let named = [PathBuf::from(path)];
            assert_eq!(
                why(&HostPaths::new(None, &named), path),
                "",
                "{path} is named"
            );
        }
        for path in [
            "/srv/certs",
            "/opt/app/conf",
            "/root/app/conf",
            "/etc/localtime",
        ] {
            assert_eq!(why(&any, path), "", "{path}");
        }
        // The name of a folder allows files in it, and no more than that.
        let etc = [PathBuf::from("/etc"), PathBuf::from("/")];
        let paths = HostPaths::new(None, &etc);
        assert_eq!(why(&paths, "/etc/shadow"), "");
        assert_ne!(why(&paths, "/root"), "");
    }

    #[test]
    fn a_project_holds_what_lies_in_it_and_not_what_it_links_to() {
        let dir = tempfile::tempdir().unwrap();
        let (project, other) = (dir.path().join("p"), dir.path().join("other"));
        fs::create_dir(&project).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(project.join("conf"), "").unwrap();
        fs::write(other.join("conf"), "").unwrap();
        symlink(&other, project.join("link")).unwrap();
        symlink("/etc/shadow", project.join("shadow")).unwrap();
        let paths = HostPaths::new(Some(&project), []);
        assert_eq!(why(&paths, project.join("conf")), "");
        assert_eq!(why(&paths, project.join("absent")), "");
        for path in ["link", "link/conf", "link/absent", "shadow"] {
            let why = why(&paths, project.join(path));
            assert!(why.contains("is outside of the project"), "{path}: {why}");
        }
        let allowed = [other.clone()];
        let paths = HostPaths::new(Some(&project), &allowed);
        assert_eq!(why(&paths, project.join("link/conf")), "");
        assert_ne!(why(&paths, project.join("shadow")), "");
    }

    #[test]
    fn a_socket_and_the_folder_that_holds_it_are_refused_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("sub/engine.sock");
        fs::create_dir(dir.path().join("sub")).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        symlink(&socket, dir.path().join("link")).unwrap();
        let paths = HostPaths::new(Some(dir.path()), []);
        for path in ["sub/engine.sock", "sub", "", "link"] {
            let why = why(&paths, dir.path().join(path));
            assert!(why.contains("socket"), "{path}: {why}");
        }
        let named = [socket.clone()];
        let paths = HostPaths::new(Some(dir.path()), &named);
        assert_eq!(why(&paths, &socket), "");
        assert_ne!(why(&paths, dir.path().join("sub")), "");
    }

    #[test]
    fn capabilities_of_the_engines_default_need_no_name() {
        assert!(!is_more("CHOWN", &[]));
        assert!(!is_more("cap_net_bind_service", &[]));
        for more in ["SYS_ADMIN", "CAP_SYS_PTRACE", "ALL", "NET_ADMIN"] {
            assert!(is_more(more, &[]), "{more}");
            assert!(!is_more(more, &[more.to_lowercase()]), "{more} is named");
        }
    }
}
