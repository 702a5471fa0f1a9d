//! Running a command with an environment, a deadline, and its output kept.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::{Either, select};
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// How much of a command's output is kept, from its end, in bytes.
const KEPT: usize = 16 * 1024;

/// How long the output of a command that has ended is read on.
const LINGER: Duration = Duration::from_secs(1);

/// Variables that lead a Postgres client somewhere else, or change its sessions.
const ELSEWHERE: [&str; 5] = [
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
];

/// Variables of a command's environment, which are no secrets of the command line itself.
type Variables = Vec<(String, String)>;

/// The variables of Postgres clients that name the database of a URL: a command that does not look
/// at the URL must not reach the database that the caller's own variables name.
fn place_of(url: &Secret) -> Variables {
    let Ok(options) = PgConnectOptions::from_str(url.expose()) else {
        return Vec::new();
    };
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let mut place = vec![
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
    ];
    place.extend(
        options
            .get_database()
            .map(|name| ("PGDATABASE", name.to_owned())),
    );
    let named = place.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A command: a program with arguments and an environment.
///
/// The URL of the database is in its variable `DATABASE_URL`, or in the one named by
/// [`with_url_variable`](Self::with_url_variable); `PGHOST`, `PGPORT`, `PGUSER` and `PGDATABASE` name
/// it as well, so that a command that reads those does not reach another one, and `PGOPTIONS`,
/// `PGSERVICE` and the like of this process are not passed on. Values of variables are taken as
/// secrets and printed nowhere.
#[derive(Clone)]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
    variables: BTreeMap<String, Secret>,
    url_variable: String,
}

impl CommandLine {
    /// A program, looked up in `PATH` unless it is a path.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            url_variable: "DATABASE_URL".to_owned(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with_arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn with_args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, beside those of this process.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Names the variable that holds the URL of the database.
    #[must_use]
    pub fn with_url_variable(mut self, name: impl Into<String>) -> Self {
        self.url_variable = name.into();
        self
    }

    /// The command as it is started in the background, with the database at a URL.
    pub(crate) fn in_background(&self, database: &Secret) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(place_of(database))
            .env(&self.url_variable, database.expose())
            .stdin(Stdio::null());
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value.expose())));
        command
    }

    /// Runs it to its end, with more variables, or to the end of the context's time; then the whole process
    /// group is killed, so that what the command has started ends as well.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when it cannot be started, [`ErrorKind::Timeout`] and [`ErrorKind::Cancelled`].
    pub(crate) async fn run<N: AsRef<OsStr>>(
        &self,
        cx: &UpgradeContext,
        variables: impl IntoIterator<Item = (N, String)>,
    ) -> Result<Ended> {
        self.conceal(cx);
        let shown = cx.redact(&self.to_string());
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(variables)
            .envs(
                self.variables
                    .iter()
                    .map(|(name, value)| (name, value.expose())),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for name in ELSEWHERE {
            if !self.variables.contains_key(name) {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().map_err(|source| {
            Error::new(ErrorKind::Io, format!("`{shown}` could not be started"))
                .with_source(source)
                .with_hint("is it installed, and in PATH?")
        })?;
        let group = Group::new(child.id());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (mut out_end, mut err_end) = (Vec::new(), Vec::new());
        let ending = async {
            let reading =
                pin!(async { tokio::join!(read(out, &mut out_end), read(err, &mut err_end)) });
            match select(pin!(child.wait()), reading).await {
                // What it has started may go on and hold its output open.
                Either::Left((status, reading)) => {
                    timeout(LINGER, reading).await.ok();
                    status
                }
                Either::Right((_, waiting)) => waiting.await,
            }
        };
        let status = cx.bounded(&shown, ending).await??;
        group.ended();
        let (out, err) = (last_lines(out_end), last_lines(err_end));
        let said = format!("{}{}", printed("stdout", &out), printed("stderr", &err));
        Ok(Ended {
            command: shown,
            status,
            out,
            said: Said(cx.redact(&said)),
        })
    }

    /// Runs it with the database of the context; what it needs to reach that is in its variables.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub(crate) async fn run_at_database(
        &self,
        cx: &UpgradeContext,
        application: &str,
    ) -> Result<Ended> {
        let endpoint = cx.database()?.endpoint();
        let url = endpoint.url();
        cx.secrets().add_url(url);
        let mut variables = place_of(url);
        // So that its sessions can be found when it is killed.
        variables.push(("PGAPPNAME".to_owned(), application.to_owned()));
        variables.push((self.url_variable.clone(), url.expose().to_owned()));
        self.run(cx, variables).await
    }

    /// Has everything that the command is given in secret taken out of what it prints. A path is no
    /// secret, and of a URL the password is.
    pub(crate) fn conceal(&self, cx: &UpgradeContext) {
        let secrets = cx.secrets();
        for (name, value) in &self.variables {
            let text = value.expose();
            match text.contains("://") || text.starts_with('/') {
                true => secrets.add_variable(name, value),
                false => secrets.add(value),
            }
        }
    }

    /// What the command consists of, for a checksum; without the values of variables.
    pub(crate) fn canonical(&self) -> String {
        let names: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        format!(
            "{}\0{}\0{}",
            self.program,
            self.arguments.join("\0"),
            names.join("\0")
        )
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {argument}"))
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLine")
            .field("command", &self.to_string())
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

/// A command that came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The command, without secrets.
    command: String,
    status: ExitStatus,
    out: Vec<u8>,
    said: Said,
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// What it printed on its standard output, without white space at either end. It may hold secrets.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    /// The error of a command that ended with a status other than 0, with the end of its output.
    pub(crate) fn failed(self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let Self {
            command, status, ..
        } = &self;
        Error::new(kind, format!("{what}: `{command}` ended with {status}")).with_source(self.said)
    }
}

/// The process group of a command; killed when it is dropped before the command has ended.
pub(crate) struct Group(Option<u32>);

impl Group {
    pub(crate) fn new(pid: Option<u32>) -> Self {
        Self(pid)
    }

    pub(crate) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // An error here means that the group has ended already, which is what we want.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// What a failed command said, as the cause of its error.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "it printed nothing"
        } else {
            self.0.trim_end()
        })
    }
}

impl std::error::Error for Said {}

fn printed(name: &str, output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    if text.trim().is_empty() {
        String::new()
    } else {
        format!("{name}: {}\n", text.trim_end())
    }
}

/// Reads to the end, and keeps twice of what will be kept at least.
async fn read(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 4 * KEPT {
            kept.drain(..kept.len() - 2 * KEPT);
        }
    }
}

/// The last part, from the beginning of a line on: half of a secret would not be known as one.
fn last_lines(mut kept: Vec<u8>) -> Vec<u8> {
    let Some(cut @ 1..) = kept.len().checked_sub(KEPT) else {
        return kept;
    };
    kept.drain(..cut);
    if let Some(end) = kept.iter().position(|byte| *byte == b'\n') {
        kept.drain(..=end);
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::environment::{DATABASE, Endpoint, Endpoints};

    fn context(within: Duration) -> UpgradeContext {
        UpgradeContext::new("1", "2")
            .with_endpoints(
                Endpoints::default()
                    .with(DATABASE, Endpoint::new("postgres://u:pw@localhost/orders")),
            )
            .with_deadline(Instant::now() + within)
    }

    fn shell(script: &str) -> CommandLine {
        CommandLine::new("sh").with_args(["-c", script])
    }

    #[tokio::test]
    async fn a_failure_shows_what_the_command_said() {
        let error = shell("echo up; echo no table >&2; exit 3")
            .run_at_database(&context(Duration::from_secs(30)), "test")
            .await
            .unwrap()
            .failed(ErrorKind::Migration, "migration `1` failed");
        assert_eq!(error.kind(), ErrorKind::Migration);
        let text = format!("{error:?}");
        for part in ["exit status: 3", "stdout: up", "stderr: no table"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn the_url_is_in_the_environment_and_nowhere_else() {
        let line = shell("test \"${DATABASE_URL#postgres://u:pw@}\" != \"$DATABASE_URL\" && test \"$KEY\" = \"secret$((0 + 1))\"")
            .with_env("KEY", "secret1");
        let ended = line
            .run_at_database(&context(Duration::from_secs(30)), "test")
            .await;
        assert!(ended.unwrap().succeeded());
        assert!(!format!("{line:?} {line}").contains("secret1"));
    }

    #[tokio::test]
    async fn variables_of_the_caller_lead_a_command_to_no_other_database() {
        // In a separate shell, so that no variable of this process is changed.
        let names = "$PGHOST $PGPORT $PGUSER $PGDATABASE $PGHOSTADDR$PGOPTIONS$PGSERVICE";
        let line = shell(&format!("test \"{names}\" = 'localhost 5432 u orders '"));
        let ended = line
            .run_at_database(&context(Duration::from_secs(30)), "test")
            .await;
        assert!(ended.unwrap().succeeded());
        let own = shell("test \"$PGOPTIONS\" = mine").with_env("PGOPTIONS", "mine");
        let ended = own
            .run_at_database(&context(Duration::from_secs(30)), "test")
            .await;
        assert!(ended.unwrap().succeeded());
    }

    #[tokio::test]
    async fn what_a_command_prints_shows_no_secret() {
        let endpoint = Endpoint::new("postgres://u:db%2Fcanary@localhost/orders");
        let cx = context(Duration::from_secs(30))
            .with_endpoints(Endpoints::default().with(DATABASE, endpoint));
        let script = "echo \"$DATABASE_URL db/canary $KEY\"; env >&2; \
                      echo \"password 'unknown-canary' PGPASSWORD=unknown-canary\"; exit 3";
        let error = shell(script)
            .with_env("KEY", "key-canary")
            .with_env("CERTIFICATE", "first-canary\nsecond-canary\n")
            .with_arg("--token=arg-canary")
            .run_at_database(&cx, "test")
            .await
            .unwrap()
            .failed(ErrorKind::Migration, "migration `1` failed");
        let text = format!("{error} {error:?} {error:#?}");
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("postgres://u:***@localhost"), "{text}");
        assert!(text.contains(" *** ***"), "{text}");
    }

    #[tokio::test]
    async fn what_runs_over_its_time_is_killed_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 600 & echo $! > {}; wait", file.path().display());
        let error = shell(&script)
            .run_at_database(&context(Duration::from_millis(400)), "test")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let pid = std::fs::read_to_string(file.path()).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let deadline = Instant::now() + Duration::from_secs(5);
        // A zombie has ended as well: its parent is whoever adopted it.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(
                Instant::now() < deadline,
                "the child of the command is still running"
            );
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = CommandLine::new("no-such-program")
            .run_at_database(&context(Duration::from_secs(5)), "test")
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`no-such-program` could not be started"),
            "{error}"
        );
    }
}
