//! A process as our direct child, on a thread that lives as long as it does.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How long a dropped process may take to end after it was asked.
const GRACE: Duration = Duration::from_secs(3);

/// A running or ended process, such as a server.
///
/// The parent-death signal is tied to the thread that spawned the child, not to the process. So a
/// dedicated thread spawns it and then waits for it. This thread ends when the child does, and not
/// before, whichever thread or runtime asked for the server.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    exit: Arc<Exit>,
}

/// How the child ended, once it did.
#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<ExitStatus>>,
    set: Condvar,
}

impl Exit {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts the command; returns when the program runs.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        let exit = Arc::new(Exit::default());
        let (sender, started) = mpsc::sync_channel(1);
        let seen = Arc::clone(&exit);
        thread::Builder::new()
            .name("process-owner".to_owned())
            .spawn(move || {
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        let _ = sender.send(Err(error));
                        return;
                    }
                };
                // Nobody waits for the answer only if the asking thread panicked; the child must be
                // reaped all the same.
                let _ = sender.send(Ok(child.id()));
                drop(command);
                let pid = Pid::from_child(&child);
                // Waits without reaping: until the lock is held the number stays the child's, so that
                // no signal can reach a stranger that got the same number.
                while let Err(rustix::io::Errno::INTR) = waitid(
                    WaitId::Pid(pid),
                    WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
                ) {}
                let mut status = seen.lock();
                *status = Some(child.wait().unwrap_or_default());
                seen.set.notify_all();
            })?;
        let id = started
            .recv()
            .map_err(|_| io::Error::other("the owning thread panicked"))??;
        let pid = i32::try_from(id)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process number is positive");
        Ok(Self { pid, exit })
    }

    /// The process number.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the process ended, if it did.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.exit.lock()
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let status = self.exit.lock();
        if status.is_none() {
            // Not yet reaped, so the number is the child's; a zombie takes the signal as well.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for the end; `None` at the deadline.
    pub(crate) fn wait(&self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        let mut status = self.exit.lock();
        while status.is_none() {
            let left = within.checked_sub(start.elapsed())?;
            status = self
                .exit
                .set
                .wait_timeout(status, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *status
    }

    /// Asks with `signal`, and kills what has not ended in time.
    pub(crate) fn end(&self, signal: Signal, within: Duration) {
        self.signal(signal);
        if self.wait(within).is_none() {
            self.signal(Signal::KILL);
            // A process in an uninterruptible call may outlive this; the next sweep finds it.
            let _ = self.wait(GRACE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::QUIT, GRACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = Process::spawn(Command::new("/nowhere/postgres")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_end_is_seen_and_later_signals_go_nowhere() {
        let process = Process::spawn(Command::new("true")).unwrap();
        assert!(process.wait(Duration::from_secs(10)).unwrap().success());
        process.signal(Signal::KILL);
        assert!(process.status().unwrap().success());
    }

    #[test]
    fn a_process_that_ignores_the_question_is_killed() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' QUIT; while :; do sleep 1; done"]);
        let process = Process::spawn(command).unwrap();
        assert_eq!(process.wait(Duration::from_millis(20)), None);
        process.end(Signal::QUIT, Duration::from_millis(50));
        assert!(!process.status().unwrap().success());
    }
}
