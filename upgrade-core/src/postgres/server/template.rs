//! The prepared data directory: `initdb` once for each set of binaries, a copy for each server.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::Signal;

use super::binaries::ServerBinaries;
use super::command;
use super::directories::{Directories, make_passable};
use super::error::ServerError;
use super::lock;
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
    if template.is_dir() {
        return Ok(template);
    }
    make_passable(&folder)?;
    // The kernel knows processes by the real path of their working directory.
    let real = folder
        .canonicalize()
        .map_err(ServerError::io("resolve", &folder))?;
    let _lock = lock::take(
        &folder.join(format!("{key}.lock")),
        INITDB_DEADLINE + INITDB_DEADLINE,
    )?;
    if template.is_dir() {
        return Ok(template);
    }
    // With the lock in hand, an unfinished one is of a process that died. Its `initdb` died with
    // it, but what that had started may still be writing.
    let unfinished = real.join(format!("{key}.new"));
    processes::end_all(&unfinished)?;
    processes::end_all(&unfinished.join("data"))?;
    clear(&unfinished)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .map_err(ServerError::io("create", &unfinished))?;
    user.give(&unfinished)
        .map_err(ServerError::io("give away", &unfinished))?;
    let data = unfinished.join("data");
    initdb(binaries, &data, user)?;
    sync(&unfinished)?;
    fs::rename(&data, &template).map_err(ServerError::io("rename", &data))?;
    clear(&unfinished)?;
    Ok(template)
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
fn sync(folder: &Path) -> Result<(), ServerError> {
    let file = File::open(folder).map_err(ServerError::io("open", folder))?;
    rustix::fs::syncfs(file).map_err(|error| ServerError::io("sync", folder)(error.into()))
}

#[cfg(not(target_os = "linux"))]
fn sync(folder: &Path) -> Result<(), ServerError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(ServerError::io("sync", folder))
}

/// Copies a data directory for `user`. Where the file system can, the blocks are shared.
pub(super) fn copy(from: &Path, to: &Path, user: &RunUser) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(to)
        .map_err(ServerError::io("create", to))?;
    user.give(to).map_err(ServerError::io("give away", to))?;
    for entry in fs::read_dir(from).map_err(ServerError::io("list", from))? {
        let entry = entry.map_err(ServerError::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry
            .file_type()
            .map_err(ServerError::io("read", &source))?
            .is_dir()
        {
            copy(&source, &target, user)?;
        } else {
            fs::copy(&source, &target).map_err(ServerError::io("copy to", &target))?;
            user.give(&target)
                .map_err(ServerError::io("give away", &target))?;
        }
    }
    Ok(())
}
