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

use super::error::ServerError;
use super::processes;
use super::user::RunUser;

/// What a server program needs of our environment. `PG*` and locale variables would change what a
/// server is, so they do not get through.
const PASSED: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];

/// A command for a server program: run as `user` in `folder`, without a way to more rights than
/// that user has, and sent `on_death` when the thread that spawns it ends.
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
        .env(processes::MARK, folder)
        .current_dir(folder)
        .stdin(Stdio::null());
    user.apply(&mut command);
    in_child(&mut command, on_death, true);
    command
}

/// Refuses a variable of the caller that the client library would send to every session of a
/// server of ours, and that it offers no way to leave out. Of the others (`PGHOST`, `PGUSER`, ...)
/// none is left where a server of ours is named.
pub(super) fn check_session_variables(
    var: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), ServerError> {
    const NAME: &str = "PGOPTIONS";
    match var(NAME).filter(|value| !value.is_empty()) {
        None => Ok(()),
        Some(value) => Err(ServerError::InvalidVariable {
            variable: NAME,
            value: value.to_string_lossy().into_owned(),
            hint: "unset it: it would change every session of the server that is started, and with that what a rehearsal finds",
        }),
    }
}

fn passed() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
}

/// Asks the kernel to send `signal` to the child when the *thread* that spawned it ends.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    in_child(command, signal, false);
}

/// Requests that are made in the child after its user was changed, since changing the user clears
/// them: the signal, and, where asked for, that no program gives it more rights than it has
/// (`sudo`, say).
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the parent-death signal can be set only in the child, between fork and exec"
)]
fn in_child(command: &mut Command, signal: Signal, no_new_rights: bool) {
    use std::os::unix::process::CommandExt;

    let parent = std::process::id();
    let request = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        if no_new_rights {
            rustix::thread::set_no_new_privs(true)?;
        }
        // A parent that died before the request sends nothing any more.
        let still_there = rustix::process::getppid()
            .is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() == parent);
        if still_there {
            Ok(())
        } else {
            Err(rustix::io::Errno::SRCH.into())
        }
    };
    // SAFETY: the closure makes three system calls, allocates nothing, takes no lock and touches no
    // memory but its own copies, so it may run between fork and exec in a threaded process.
    unsafe {
        command.pre_exec(request);
    }
}

/// Elsewhere the next sweep ends what outlived its owner.
#[cfg(not(target_os = "linux"))]
fn in_child(_command: &mut Command, _signal: Signal, _no_new_rights: bool) {}

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
    fn options_for_every_session_are_refused_by_name() {
        let check = |value: &'static str| {
            check_session_variables(&move |name| (name == "PGOPTIONS").then(|| value.into()))
        };
        check("").unwrap();
        check_session_variables(&|_| None).unwrap();
        let error = check("-c default_transaction_read_only=on").unwrap_err();
        assert!(
            error.to_string().starts_with(
                "environment variable `PGOPTIONS` is `-c default_transaction_read_only=on` (unset it"
            ),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_program_can_get_no_new_rights() {
        let user = RunUser::ourselves();
        let mut command =
            server_command(Path::new("/bin/cat"), &user, Path::new("/"), Signal::KILL);
        command.arg("/proc/self/status");
        let finished = run(command, Duration::from_secs(10)).unwrap();
        assert!(
            finished.output.contains("NoNewPrivs:\t1"),
            "{}",
            finished.output
        );
    }

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
