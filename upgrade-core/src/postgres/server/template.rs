//! The prepared data directory: `initdb` once for each set of binaries, a copy for each server.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::Signal;

use super::binaries::ServerBinaries;
use super::command;
use super::directories::{Directories, check_ours, make_passable};
use super::error::ServerError;
use super::files;
use super::processes;
use super::user::RunUser;

/// `initdb` takes under a second; a loaded machine gets two minutes.
const INITDB_DEADLINE: Duration = Duration::from_secs(120);

/// Small write-ahead log files make a small copy. The template is synced once at the end.
const FLAGS: [&str; 7] = [
    "--no-sync",
    "--no-instructions",
    "--wal-segsize=1",
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-locale",
];

/// To whom a template belongs, as a part of its key: earlier ones belonged to the server's user.
const OWNER: &str = "ours";

/// Replaces `--no-locale` where the system has it: UTF-8 classes of letters, order by code point.
const LOCALE: &str = "--locale=C.UTF-8";

/// The prepared data directory of these binaries; made on the first call on a machine.
pub(super) fn prepared(
    binaries: &ServerBinaries,
    directories: &Directories,
    user: &RunUser,
) -> Result<PathBuf, ServerError> {
    let folder = directories.cache.join("initdb");
    user.check_reach(
        &folder,
        "set `UPGRADE_CACHE_DIR` to a directory that every user can enter",
    )?;
    let key = key(binaries)?;
    let template = folder.join(&key);
    if is_there(&template)? {
        return Ok(template);
    }
    make_passable(&folder)?;
    // The kernel knows processes by the real path of their working directory.
    let real = folder
        .canonicalize()
        .map_err(ServerError::io("resolve", &folder))?;
    let _lock = files::lock(
        &folder.join(format!("{key}.lock")),
        INITDB_DEADLINE + INITDB_DEADLINE,
    )?;
    if is_there(&template)? {
        return Ok(template);
    }
    // With the lock in hand, an unfinished one is of a process that died. Its `initdb` died with
    // it, but what that had started may still be writing.
    let unfinished = real.join(format!("{key}.new"));
    processes::end_all(&unfinished, user)?;
    clear(&unfinished)?;
    // One that is there all the same was damaged.
    clear(&template)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .map_err(ServerError::io("create", &unfinished))?;
    user.give(&unfinished)
        .map_err(ServerError::io("give away", &unfinished))?;
    let data = unfinished.join("data");
    let made = initdb(binaries, &data, user)
        // No server may change what the next one starts from.
        .and_then(|()| files::take_tree(&data))
        .and_then(|()| files::seal(&data))
        .and_then(|()| sync(&unfinished))
        .and_then(|()| {
            let seal = files::seal_path(&data);
            fs::rename(&seal, files::seal_path(&template)).map_err(ServerError::io("rename", &seal))
        })
        .and_then(|()| fs::rename(&data, &template).map_err(ServerError::io("rename", &data)));
    // Half a data directory would keep the disk full that it was too large for.
    let cleared = clear(&unfinished);
    made?;
    cleared?;
    Ok(template)
}

/// Whether the template is there, and whole. One that another user could have changed is not taken.
fn is_there(template: &Path) -> Result<bool, ServerError> {
    if fs::symlink_metadata(template).is_err() {
        return Ok(false);
    }
    check_ours(template)?;
    let whole = files::is_sealed(template);
    if !whole {
        tracing::warn!(template = %template.display(), "a prepared data directory is damaged, and made again");
    }
    Ok(whole)
}

/// Names the template by everything that went into it.
fn key(binaries: &ServerBinaries) -> Result<String, ServerError> {
    let folder = binaries.bin_dir();
    let modified = fs::metadata(folder)
        .and_then(|metadata| metadata.modified())
        .map_err(ServerError::io("read", folder))?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    let fields = [
        binaries.version().text(),
        &folder.to_string_lossy(),
        &modified.as_nanos().to_string(),
        OWNER,
    ];
    for field in fields.into_iter().chain(FLAGS).chain([LOCALE]) {
        hasher.update(field.as_bytes()).update(&[0]);
    }
    let hash = hasher.finalize().to_hex();
    Ok(format!(
        "{}-{}",
        binaries.version().major(),
        &hash.as_str()[..16]
    ))
}

fn initdb(binaries: &ServerBinaries, data: &Path, user: &RunUser) -> Result<(), ServerError> {
    let (common, without_locale) = FLAGS.split_at(FLAGS.len() - 1);
    let first = run_initdb(binaries, data, user, &[common, &[LOCALE]].concat());
    match first {
        Err(ServerError::Initdb { output, .. }) if output.contains("invalid locale name") => {
            clear(data)?;
            run_initdb(binaries, data, user, &[common, without_locale].concat())
        }
        other => other,
    }
}

fn run_initdb(
    binaries: &ServerBinaries,
    data: &Path,
    user: &RunUser,
    flags: &[&str],
) -> Result<(), ServerError> {
    let program = binaries.program("initdb");
    let folder = data.parent().expect("a data directory lies in a folder");
    let mut initdb = command::server_command(&program, user, folder, Signal::KILL);
    initdb.args(flags).arg("-D").arg(data);
    let finished = command::run(initdb, INITDB_DEADLINE).map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => ServerError::Timeout {
            what: format!("`{}`", program.display()),
            within: INITDB_DEADLINE,
        },
        _ => ServerError::Spawn {
            program: program.clone(),
            source,
        },
    })?;
    if finished.status.success() {
        return Ok(());
    }
    Err(ServerError::Initdb {
        program,
        status: finished.status,
        output: finished.output.trim_end().to_owned(),
    })
}

fn clear(path: &Path) -> Result<(), ServerError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ServerError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes the file system to disk once, so that a template that has its final name is whole even
/// after the machine lost its power.
#[cfg(target_os = "linux")]
pub(super) fn sync(folder: &Path) -> Result<(), ServerError> {
    let file = File::open(folder).map_err(ServerError::io("open", folder))?;
    rustix::fs::syncfs(file).map_err(|error| ServerError::io("sync", folder)(error.into()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sync(folder: &Path) -> Result<(), ServerError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(ServerError::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Binaries whose `initdb` is that script, in a folder that every user can enter.
    fn binaries(folder: &Path, initdb: &str, user: &RunUser) -> ServerBinaries {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let bin = folder.join("bin");
        fs::create_dir(&bin).unwrap();
        let postgres = "echo 'postgres (PostgreSQL) 15.1'";
        for (name, script) in [("postgres", postgres), ("initdb", initdb)] {
            fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        ServerBinaries::probe(&bin, user).unwrap().unwrap()
    }

    /// The last argument of `initdb` is the data directory.
    const LAST: &str = "for data; do :; done; mkdir \"$data\"";

    #[test]
    fn a_failed_initdb_shows_its_output_and_makes_no_template() {
        let folder = tempfile::tempdir().unwrap();
        let user = RunUser::of_this_process().unwrap();
        let script = format!("{LAST}; echo 'No space left on device' >&2; exit 1");
        let binaries = binaries(folder.path(), &script, &user);
        let directories = Directories::below(folder.path());
        let error = prepared(&binaries, &directories, &user).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("exit status: 1; its output:\nNo space left on device"),
            "{error}"
        );
        let folder_of_templates = directories.cache.join("initdb");
        let left = fs::read_dir(&folder_of_templates).unwrap().flatten();
        let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
        // Nor is what a killed process leaves an obstacle to the next try.
        let key = key(&binaries).unwrap();
        fs::create_dir(folder_of_templates.join(format!("{key}.new"))).unwrap();
        let error = prepared(&binaries, &directories, &user).unwrap_err();
        assert!(
            error.to_string().contains("No space left on device"),
            "{error}"
        );
    }

    #[test]
    fn a_system_without_the_locale_gets_a_template_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let user = RunUser::of_this_process().unwrap();
        let script = format!(
            "{LAST}; case \"$*\" in *--locale=*) echo 'invalid locale name \"C.UTF-8\"'; exit 1;; esac\n\
             echo \"$*\" > \"$data/flags\""
        );
        let binaries = binaries(folder.path(), &script, &user);
        let template = prepared(&binaries, &Directories::below(folder.path()), &user).unwrap();
        let flags = fs::read_to_string(template.join("flags")).unwrap();
        assert!(
            flags.contains("--no-locale") && flags.contains("--wal-segsize=1"),
            "{flags}"
        );
    }
}
