//! The processes that work in a data directory, found through the kernel: servers whose owner has
//! ended, back ends whose postmaster has ended.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::ServerError;
use super::user::RunUser;
use super::{command, files};

/// How long a server may take to end before it is killed, and how long its end may take after that.
const GRACE: Duration = Duration::from_secs(3);

/// The variable that names the data directory to every process of a server, and to what these
/// start: a program that left the directory and its session is still found by it, unless it hides.
pub(super) const MARK: &str = "UPGRADE_SERVER_DATA";

/// All processes for which the condition holds on their folder below `/proc`.
#[cfg(target_os = "linux")]
fn with(condition: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            condition(&entry.path()).then_some(pid)
        })
        .collect()
}

/// All processes whose working directory is this data directory or below, and those that were
/// started from there. Every process of a server stays in its data directory from its first
/// instruction to its last, and no number is trusted that was written to a file by a process that
/// may have ended.
#[cfg(target_os = "linux")]
fn working_in(data: &Path) -> Vec<Pid> {
    use std::os::unix::ffi::OsStrExt as _;

    let mark = [MARK.as_bytes(), b"=", data.as_os_str().as_bytes()].concat();
    with(|process| {
        fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(data))
            || fs::read(process.join("environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == mark))
    })
}

/// All processes that run as this user, in one of the senses of the kernel, but those that are
/// dead and wait for their parent.
#[cfg(target_os = "linux")]
pub(super) fn of_user(id: u32) -> Vec<Pid> {
    let id = id.to_string();
    with(|process| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let dead = field("State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X']));
        !dead && field("Uid:").is_some_and(|ids| ids.split_whitespace().any(|one| one == id))
    })
}

/// All processes that run as this user.
#[cfg(not(target_os = "linux"))]
pub(super) fn of_user(id: u32) -> Vec<Pid> {
    let mut ps = Command::new("ps");
    ps.args(["-o", "pid=", "-U"]).arg(id.to_string());
    let output = command::run(ps, GRACE).map_or_else(|_| String::new(), |done| done.output);
    let numbers = output.split_whitespace();
    numbers
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
        .collect()
}

/// Kills every process of a user that is one server's alone. The system does it in one step, as
/// that user: a process cannot escape by starting another one in between.
pub(super) fn end_user(id: u32) -> Result<(), ServerError> {
    use std::os::unix::process::CommandExt as _;

    let start = Instant::now();
    while !of_user(id).is_empty() {
        if start.elapsed() >= GRACE * 2 {
            return Err(ServerError::Timeout {
                what: format!("what runs as user {id}"),
                within: GRACE * 2,
            });
        }
        let mut kill = Command::new("/bin/sh");
        // As anybody else this would be a catastrophe, so it is asked for again.
        kill.args(["-c", "[ \"$(id -u)\" = \"$1\" ] && kill -9 -1", "sh"])
            .arg(id.to_string())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .uid(id)
            .gid(id);
        // It may be killed by what it kills; then it is tried again.
        if let Err(error) = command::run(kill, GRACE) {
            tracing::debug!(id, %error, "the processes of a server's user cannot be killed");
        }
        thread::sleep(Duration::from_millis(2)); // poll
    }
    Ok(())
}

/// The postmaster by its own file, if the process of that number was started for this directory.
#[cfg(not(target_os = "linux"))]
fn working_in(data: &Path) -> Vec<Pid> {
    let pid = (|| {
        let text = files::read_text(&data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        let mut ps = Command::new("ps");
        ps.args(["-ww", "-o", "command=", "-p"])
            .arg(pid.as_raw_nonzero().to_string());
        let line = command::run(ps, GRACE).ok()?.output;
        line.contains(data.to_str()?).then_some(pid)
    })();
    pid.into_iter().collect()
}

/// Ends every process in a data directory, given by its real path, and every process of the
/// server's own user: asks first, so that the server returns its shared memory to the kernel, then
/// kills.
pub(super) fn end_all(data: &Path, user: &RunUser) -> Result<(), ServerError> {
    end_working_in(data)?;
    user.end_processes()
}

fn end_working_in(data: &Path) -> Result<(), ServerError> {
    for signal in [Signal::QUIT, Signal::KILL] {
        let start = Instant::now();
        let mut told: Vec<Pid> = Vec::new();
        loop {
            let there = working_in(data);
            if there.is_empty() {
                remove_shared_memory(data);
                return Ok(());
            }
            for pid in there {
                if !told.contains(&pid) {
                    // It may have ended since it was seen; then there is nothing to do.
                    let _ = kill_process(pid, signal);
                    told.push(pid);
                }
            }
            if start.elapsed() >= GRACE {
                break;
            }
            thread::sleep(Duration::from_millis(2)); // poll
        }
    }
    Err(ServerError::Timeout {
        what: format!("the server in `{}`", data.display()),
        within: GRACE * 2,
    })
}

/// Gives back the small System V segment that a server leaves when it is killed: a machine has a
/// few thousand of them. Best effort, since a leak of 56 bytes must not fail a test.
///
/// The segment is removed only if the kernel has one with the key *and* number that the server
/// wrote down, with nobody attached.
fn remove_shared_memory(data: &Path) {
    let Some((key, id)) = segment_of(data) else {
        return;
    };
    let Ok(table) = fs::read_to_string("/proc/sysvipc/shm") else {
        return;
    };
    if is_orphan(&table, key, id) {
        let mut ipcrm = Command::new("ipcrm");
        ipcrm.arg("-m").arg(id.to_string());
        if let Err(error) = command::run(ipcrm, GRACE) {
            tracing::debug!(id, %error, "a shared memory segment stays behind");
        }
    }
}

/// Key and number of the segment, from the seventh line of the server's own file.
fn segment_of(data: &Path) -> Option<(i32, i64)> {
    let text = files::read_text(&data.join("postmaster.pid")).ok()?;
    let mut fields = text.lines().nth(6)?.split_whitespace();
    // The key is printed unsigned by the server and signed by the kernel.
    let key: u64 = fields.next()?.parse().ok()?;
    Some((
        u32::try_from(key & 0xffff_ffff).ok()?.cast_signed(),
        fields.next()?.parse().ok()?,
    ))
}

fn is_orphan(table: &str, key: i32, id: i64) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 6
            && fields[0] == key.to_string()
            && fields[1] == id.to_string()
            && fields[6] == "0"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid
  -5432001          7   600                    56   100   100      0   101
         9          8   600                    56   100   100      2   101
";

    #[test]
    fn a_segment_is_an_orphan_only_with_its_key_its_number_and_nobody_attached() {
        assert!(is_orphan(TABLE, -5_432_001, 7));
        assert!(!is_orphan(TABLE, 5_432_001, 7));
        assert!(!is_orphan(TABLE, -5_432_001, 8));
        assert!(!is_orphan(TABLE, 9, 8));
    }

    #[test]
    fn the_segment_is_read_from_the_seventh_line() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(segment_of(folder.path()), None);
        let lines = "10\n/d\n1700000000\n5432\n/s\n\n4289535295         7\nready\n";
        fs::write(folder.path().join("postmaster.pid"), lines).unwrap();
        assert_eq!(segment_of(folder.path()), Some((-5_432_001, 7)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_found_by_its_working_directory_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut child = Command::new("sleep")
            .arg("60")
            .current_dir(&path)
            .spawn()
            .unwrap();
        assert_eq!(working_in(&path).len(), 1);
        end_all(&path, &RunUser::ourselves()).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_left_is_found_by_what_it_was_started_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut child = Command::new("setsid")
            .args(["sleep", "60"])
            .env(MARK, &path)
            .current_dir("/")
            .spawn()
            .unwrap();
        let start = Instant::now();
        // Between two programs, first `setsid` and then `sleep`, a process has no variables to see.
        let name = format!("/proc/{}/comm", child.id());
        let sleeps = || fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n");
        while !sleeps() || working_in(&path).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1)); // poll
        }
        end_all(&path, &RunUser::ourselves()).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
