//! The processes that work in a data directory, found through the kernel: servers whose owner is
//! gone, back ends whose postmaster is gone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::command;
use super::error::ServerError;

/// How long a server may take to end by itself before it is killed, and after that to be gone.
const GRACE: Duration = Duration::from_secs(3);

/// All processes whose working directory is this data directory or below. Every process of a server
/// stays in its data directory from its first instruction to its last, and no number is trusted
/// that was written to a file by a process that may be gone.
#[cfg(target_os = "linux")]
fn working_in(data: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            fs::read_link(entry.path().join("cwd"))
                .ok()?
                .starts_with(data)
                .then_some(pid)
        })
        .collect()
}

/// The postmaster by its own file, if the process of that number was started for this directory.
#[cfg(not(target_os = "linux"))]
fn working_in(data: &Path) -> Vec<Pid> {
    let pid = (|| {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        let mut ps = Command::new("ps");
        ps.args(["-ww", "-o", "command=", "-p"])
            .arg(pid.as_raw_nonzero().to_string());
        let line = command::run(ps, GRACE).ok()?.output;
        line.contains(data.to_str()?).then_some(pid)
    })();
    pid.into_iter().collect()
}

/// Ends every process in a data directory, given by its real path: asks first, so that the server
/// returns its shared memory to the kernel, then kills.
pub(super) fn end_all(data: &Path) -> Result<(), ServerError> {
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
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
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
        end_all(&path).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
