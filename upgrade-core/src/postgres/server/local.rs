//! A running Postgres server that belongs to this process.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Row};

use super::binaries::{ServerBinaries, ServerVersion};
use super::command::{check_session_variables, server_command};
use super::directories::PORT;
use super::directory::{ServerDirectory, sweep};
use super::error::ServerError;
use super::options::ServerOptions;
use super::process::Process;
use super::user::RunUser;
use super::{files, processes, template};
use crate::redact::server_log;

/// How long a fast shutdown may take before the server is stopped at once.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// How many lines of the log stand in an error.
const LOG_LINES: usize = 20;

/// A Postgres server that this process runs: a child process, a Unix socket, no TCP port.
///
/// Dropping it stops the server at once and removes its directory, without a runtime; [`stop`]
/// does it in order and reports errors. When the process dies, the server dies with it.
///
/// [`stop`]: LocalServer::stop
#[derive(Debug)]
pub struct LocalServer {
    // Fields are dropped in this order: the process ends before its directory goes.
    process: Mutex<Option<Process>>,
    directory: ServerDirectory,
    binaries: ServerBinaries,
    options: ServerOptions,
    user: RunUser,
}

impl LocalServer {
    /// Sweeps what dead processes left, prepares a data directory, starts the server and waits
    /// until it answers queries; then checks that the profile is in force.
    ///
    /// # Errors
    /// Any [`ServerError`] but [`NotFound`](ServerError::NotFound). All that the start made is
    /// removed; the end of the server's log is in the error.
    pub async fn start(
        binaries: &ServerBinaries,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        Self::start_prepared(binaries, options, None).await
    }

    /// As [`start`](Self::start), on a copy of a data directory that
    /// [`hand_over`](Self::hand_over) left, made by binaries of the same major version.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub async fn start_on_copy(
        binaries: &ServerBinaries,
        data: &Path,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        Self::start_prepared(binaries, options, Some(data.to_owned())).await
    }

    async fn start_prepared(
        binaries: &ServerBinaries,
        options: ServerOptions,
        data: Option<PathBuf>,
    ) -> Result<Self, ServerError> {
        check_session_variables(&|name| std::env::var_os(name))?;
        let binaries = binaries.clone();
        let server = blocking(move || Self::prepare(binaries, options, data)).await?;
        server.launch().await?;
        Ok(server)
    }

    fn prepare(
        binaries: ServerBinaries,
        options: ServerOptions,
        data: Option<PathBuf>,
    ) -> Result<Self, ServerError> {
        let directories = options.directories()?;
        // What cannot be swept does not stop a new server; it is in the log.
        sweep(&directories);
        let template = match data {
            Some(data) => data,
            None => template::prepared(&binaries, &directories, &RunUser::of_this_process()?)?,
        };
        let directory = ServerDirectory::create(&directories.home_for(options.profile()))?;
        let user = directory.user();
        let start = Instant::now();
        let data = directory.data();
        files::copy_tree(&template, &data, &user)?;
        let copied = start.elapsed();
        let configuration = options.configuration(binaries.version().major(), &directory.socket());
        let path = data.join("postgresql.conf");
        files::open(&path, OpenOptions::new().append(true))
            .and_then(|mut file| file.write_all(configuration.as_bytes()))
            .map_err(ServerError::io("write", &path))?;
        tracing::debug!(directory = %directory.path().display(), ?copied, "a data directory is ready");
        Ok(Self {
            process: Mutex::new(None),
            directory,
            binaries,
            options,
            user,
        })
    }

    /// Starts the process and waits until it answers.
    async fn launch(&self) -> Result<(), ServerError> {
        let log = self
            .directory
            .log(OpenOptions::new().create(true).append(true))?;
        let errors = log
            .try_clone()
            .map_err(ServerError::io("open", self.directory.path()))?;
        let program = self.binaries.program("postgres");
        let data = self.directory.data();
        let mut command = server_command(&program, &self.user, &data, Signal::QUIT);
        command
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(errors));
        // An own process group: Ctrl-C in a terminal reaches us, and we decide what follows.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process =
            Process::spawn(command).map_err(|source| ServerError::Spawn { program, source })?;
        *self.process() = Some(process);
        let ready = self.wait_until_ready().await;
        if ready.is_err() {
            self.end(Signal::QUIT).await;
        }
        ready
    }

    async fn wait_until_ready(&self) -> Result<(), ServerError> {
        let within = self.options.start_deadline();
        let deadline = tokio::time::Instant::now() + within;
        let options = self.connect_options();
        let mut pause = Duration::from_millis(2);
        let mut last = None;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(ServerError::Exited {
                    directory: self.directory.path().to_owned(),
                    status,
                    log: self.log_tail(LOG_LINES),
                });
            }
            match tokio::time::timeout_at(deadline, self.ask(&options)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ServerError::Query { source, .. })) => last = Some(source),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(ServerError::NotReady {
                    directory: self.directory.path().to_owned(),
                    within,
                    log: self.log_tail(LOG_LINES),
                    source: last,
                });
            }
            tokio::time::sleep(pause).await; // poll
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// One connection: whose server it is, since when, and whether it has the profile.
    async fn ask(&self, options: &PgConnectOptions) -> Result<(), ServerError> {
        let failed = |source| ServerError::Query {
            directory: self.directory.path().to_owned(),
            source,
        };
        let promised = self.options.promised(self.binaries.version().major());
        let names: Vec<&str> = promised.iter().map(|(name, _)| *name).collect();
        let mut connection = PgConnection::connect_with(options).await.map_err(failed)?;
        let row = sqlx::query(
            "select pg_postmaster_start_time()::text, current_setting('data_directory'), \
             array(select current_setting(name) from unnest($1::text[]) with ordinality as n (name, i) order by i)",
        )
        .bind(&names)
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
        let started: String = row.try_get(0).map_err(failed)?;
        let data: String = row.try_get(1).map_err(failed)?;
        let values: Vec<String> = row.try_get(2).map_err(failed)?;
        // The answer is in; a connection that cannot be closed is closed by the server.
        let _ = connection.close().await;
        if Path::new(&data) != self.directory.data() {
            return Err(ServerError::Impostor {
                socket: self.directory.socket(),
                actual: data,
            });
        }
        for ((name, expected), actual) in promised.into_iter().zip(values) {
            if actual != expected {
                return Err(ServerError::ProfileNotInForce {
                    profile: self.options.profile().as_str(),
                    name: name.to_owned(),
                    expected: expected.to_owned(),
                    actual,
                });
            }
        }
        tracing::debug!(directory = %self.directory.path().display(), %started, "a server answers");
        Ok(())
    }

    /// How to connect: user `postgres`, database `postgres`, over the socket.
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.directory.socket())
            .port(PORT)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    /// The version of the server's binaries.
    pub fn version(&self) -> &ServerVersion {
        self.binaries.version()
    }

    /// The binaries that run.
    pub fn binaries(&self) -> &ServerBinaries {
        &self.binaries
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.data()
    }

    /// The directory of the socket: the `host` of a connection string.
    pub fn socket_dir(&self) -> PathBuf {
        self.directory.socket()
    }

    /// The number of the server process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process()
            .as_ref()
            .filter(|process| process.status().is_none())
            .map(Process::id)
    }

    /// The last lines of the server's log, at most 64 KiB of it; empty if there is none. The values
    /// of rows, literals and passwords in it are replaced by `***`.
    pub fn log_tail(&self, lines: usize) -> String {
        const MOST: u64 = 64 << 10;
        let read = || {
            let mut file = self
                .directory
                .log(OpenOptions::new().read(true))
                .map_err(std::io::Error::other)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
            let mut bytes = Vec::new();
            file.take(MOST).read_to_end(&mut bytes)?;
            std::io::Result::Ok(bytes)
        };
        let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
        let all: Vec<&str> = text.lines().collect();
        server_log(&all[all.len().saturating_sub(lines)..].join("\n"))
    }

    /// A shell command that enters a database of this server.
    pub fn psql_command(&self, database: &str) -> String {
        psql_command(&self.binaries, &self.directory.socket(), database)
    }

    /// Kills the server and all its processes as a crash would: nothing is written any more. The
    /// directory stays, for [`restart`](Self::restart).
    ///
    /// # Errors
    /// [`ServerError::NotRunning`], and [`ServerError::Timeout`] if a process does not go away.
    pub async fn kill(&self) -> Result<(), ServerError> {
        if self.pid().is_none() {
            return Err(ServerError::NotRunning {
                directory: self.directory.path().to_owned(),
            });
        }
        self.end(Signal::KILL).await;
        // Back ends end when they notice that their server has ended, but not at once.
        let (data, user) = (self.directory.data(), self.user.clone());
        blocking(move || processes::end_all(&data, &user)).await
    }

    /// Stops the server if it runs, and starts it again on the same directory.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub async fn restart(&self) -> Result<(), ServerError> {
        self.end(Signal::INT).await;
        let (data, user) = (self.directory.data(), self.user.clone());
        blocking(move || processes::end_all(&data, &user)).await?;
        self.launch().await
    }

    /// Stops the server (open connections are ended, changes are written) and removes its
    /// directory.
    ///
    /// # Errors
    /// [`ServerError::Io`] or [`ServerError::Timeout`] when something stays behind; the next sweep
    /// tries again.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        self.end(Signal::INT).await;
        blocking(move || self.directory.remove()).await
    }

    /// Stops the server in order, copies its data directory to `to`, which must not exist, and
    /// removes its own directory. The copy is on disk when this returns, belongs to this process's
    /// user, and holds none of this server's settings. A file beside it, `to` with `.seal` after it,
    /// is for [`is_intact`](Self::is_intact).
    ///
    /// # Errors
    /// [`ServerError::Io`] when the copy fails, with what there is of it in place, and when the
    /// server did not stop in order, since its data would have to be recovered first.
    pub async fn hand_over(mut self, to: &Path) -> Result<(), ServerError> {
        self.end(Signal::INT).await;
        let to = to.to_owned();
        blocking(move || {
            let data = self.directory.data();
            // Nobody changes the files any more while they are copied.
            processes::end_all(&data, &self.user)?;
            // A server that ended in order has removed this file; one that was killed has not.
            let running = data.join("postmaster.pid");
            if fs::symlink_metadata(&running).is_ok() {
                return Err(ServerError::Io {
                    action: "stop in order the server of",
                    path: data,
                    source: std::io::ErrorKind::ResourceBusy.into(),
                });
            }
            files::copy_tree(&data, &to, &RunUser::ourselves())?;
            let path = to.join("postgresql.conf");
            let configuration =
                fs::read_to_string(&path).map_err(ServerError::io("read", &path))?;
            let initial = configuration
                .split_once(ServerOptions::CONFIGURATION_MARK)
                .map_or(configuration.as_str(), |(initial, _)| initial);
            fs::write(&path, initial).map_err(ServerError::io("write", &path))?;
            files::seal(&to)?;
            template::sync(&to)?;
            self.directory.remove()
        })
        .await
    }

    /// Whether a data directory that [`hand_over`](Self::hand_over) left is as it was left: neither
    /// garbled nor cut short.
    #[doc(hidden)]
    pub fn is_intact(data: &Path) -> bool {
        files::is_sealed(data)
    }

    /// Makes the directory stay for `time_limit` after the server's end, however it ends. The
    /// server goes on; the returned commands start it again afterwards, and enter it.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the directory cannot be marked as kept.
    pub fn keep_directory(&self, time_limit: Duration) -> Result<KeptServer, ServerError> {
        let until = SystemTime::now() + time_limit;
        let postgres = quote(&self.binaries.program("postgres").to_string_lossy());
        let data = self.directory.data();
        let mut start = format!("{postgres} -D {}", quote(&data.to_string_lossy()));
        if self.user.is_other() {
            start = format!(
                "setpriv --reuid={0} --regid={0} --clear-groups --no-new-privs {start}",
                self.user.name()
            );
        }
        Ok(KeptServer {
            directory: self.directory.keep(until)?,
            until,
            start,
            enter: self.psql_command("postgres"),
        })
    }

    /// Stops the server and leaves its directory for people to look at, for `time_limit`.
    ///
    /// The server itself does not stay: it would outlive this process, with nobody to end it. The
    /// returned commands start it again and enter it.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the directory cannot be marked as kept.
    pub async fn keep(self, time_limit: Duration) -> Result<KeptServer, ServerError> {
        self.end(Signal::INT).await;
        blocking(move || self.keep_directory(time_limit)).await
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.process().as_ref().and_then(Process::status)
    }

    /// Ends the process: `signal` first, then harder.
    async fn end(&self, signal: Signal) {
        let Some(process) = self.process().take() else {
            return;
        };
        // Dropping the process on the way, should this future be cancelled, ends it as well.
        let ended = blocking(move || {
            process.signal(signal);
            if process.wait(STOP_DEADLINE).is_none() {
                tracing::warn!(
                    pid = process.id(),
                    "a server does not stop; it is stopped at once"
                );
            }
            drop(process);
            Ok(())
        });
        ended.await.unwrap_or_default();
    }
}

/// A stopped server whose directory stays for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptServer {
    /// The directory, with the log and the data.
    pub directory: PathBuf,
    /// When a sweep may remove it.
    pub until: SystemTime,
    /// The shell command that starts the server again, in the foreground.
    pub start: String,
    /// The shell command that enters it.
    pub enter: String,
}

impl fmt::Display for KeptServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kept: {}", self.directory.display())?;
        writeln!(f, "start it: {}", self.start)?;
        write!(f, "enter it: {}", self.enter)
    }
}

fn psql_command(binaries: &ServerBinaries, socket: &Path, database: &str) -> String {
    let psql = binaries.program("psql");
    let psql = if fs::exists(&psql).unwrap_or(false) {
        psql
    } else {
        PathBuf::from("psql")
    };
    format!(
        "{} -h {} -p {PORT} -U postgres -d {}",
        quote(&psql.to_string_lossy()),
        quote(&socket.to_string_lossy()),
        quote(database)
    )
}

/// Quotes an argument for a shell, if it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs file and process work on a thread where it may block.
async fn blocking<T, F>(work: F) -> Result<T, ServerError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ServerError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and did not begin the work.
            Err(_) => Err(ServerError::Timeout {
                what: "a runtime that shuts down".to_owned(),
                within: Duration::ZERO,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_are_quoted_for_a_shell_when_they_need_it() {
        assert_eq!(quote("/a/b-1.x"), "/a/b-1.x");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("-x"), "'-x'");
    }
}
