//! Starting other programs: as the right user, with a plain environment, never outliving us.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::user::RunUser;

/// What a server program needs of our environment. `PG*` and locale variables would change what a
/// server is, so they do not get through.
const PASSED: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];

/// A command for a server program: run as `user` in `folder`, and told `on_death` when the thread
/// that spawns it ends.
pub(super) fn server_command(
    program: &Path,
    user: &RunUser,
    folder: &Path,
    on_death: Signal,
) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(passed())
        .env("LC_ALL", "C")
        .current_dir(folder)
        .stdin(Stdio::null());
    user.apply(&mut command);
    die_with_parent(&mut command, on_death);
    command
}

fn passed() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
}

/// Asks the kernel to send `signal` to the child when the *thread* that spawned it ends.
///
/// The request is made in the child after its user was changed, since changing the user clears it.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the parent-death signal can be set only in the child, between fork and exec"
)]
pub(super) fn die_with_parent(command: &mut Command, signal: Signal) {
    use std::os::unix::process::CommandExt;

    let parent = std::process::id();
    let request = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // A parent that died before the request sends nothing any more.
        let still_there = rustix::process::getppid()
            .is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() == parent);
        if still_there {
            Ok(())
        } else {
            Err(rustix::io::Errno::SRCH.into())
        }
    };
    // SAFETY: the closure makes two system calls, allocates nothing, takes no lock and touches no
    // memory but its own copies, so it may run between fork and exec in a threaded process.
    unsafe {
        command.pre_exec(request);
    }
}

/// Elsewhere the next sweep ends what outlived its owner.
#[cfg(not(target_os = "linux"))]
pub(super) fn die_with_parent(_command: &mut Command, _signal: Signal) {}

/// How a program ended and what it printed on both of its outputs.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) output: String,
}

/// Runs a program to its end, or kills it at the deadline with [`io::ErrorKind::TimedOut`].
pub(super) fn run(mut command: Command, within: Duration) -> io::Result<Finished> {
    let start = Instant::now();
    let (mut reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends; the reader sees the end only when they are closed.
    drop(command);
    let (sender, output) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is still worth showing.
        let _ = reader.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() >= within {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("killed after {within:?}"),
            ));
        }
        thread::sleep(pause); // poll
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    // A grandchild may hold the pipe open for ever: its output is not waited for.
    let output = output
        .recv_timeout(Duration::from_secs(2))
        .unwrap_or_default();
    Ok(Finished { status, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_and_the_status_come_back() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let finished = run(command, Duration::from_secs(10)).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.output, "out\nerr\n");
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_the_deadline() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec sleep 60"]);
        let start = Instant::now();
        let error = run(command, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
