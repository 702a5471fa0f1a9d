//! Servers and pools that the benches start. No bench measures on a server that exists already.

use std::process::{ExitStatus, Stdio};

use sqlx::postgres::PgConnection;
use tokio::process::Command;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerBinaries, ServerOptions, ServerRequirement,
    discover,
};
use upgrade_testkit::pool::{Pool, PoolOptions, Template, TemplateKey};

use crate::Result;

/// Binaries of a major version, or the newest that are found.
///
/// # Errors
/// There are none. `UPGRADE_PG_URL` is not looked at.
pub async fn binaries(major: Option<u16>) -> Result<ServerBinaries> {
    let requirement = major.map_or_else(ServerRequirement::any, ServerRequirement::major);
    let options = provider()?;
    match tokio::task::spawn_blocking(move || discover(&requirement, &options)).await?? {
        Found::Binaries(binaries) => Ok(binaries),
        other => Err(format!("no server binaries but {other:?}").into()),
    }
}

/// A pool on local servers.
///
/// # Errors
/// There are no server binaries, or the cache cannot be used.
pub async fn pool(major: Option<u16>) -> Result<Pool> {
    let options = PoolOptions::new(provider()?).with_major(major);
    Ok(Pool::connect(options).await?)
}

/// A template that some SQL fills.
///
/// # Errors
/// It cannot be built.
pub async fn sql_template(pool: &Pool, sql: &str) -> Result<Template> {
    let build = async |database: Database| {
        let mut connection = database.connect().await?;
        run(&mut connection, sql).await?;
        Ok::<_, upgrade_core::BoxError>(())
    };
    let key = TemplateKey::new().with("sql", sql);
    Ok(pool.template(&key, build).await?)
}

/// A new server: with the settings of tests, where nothing is forced to disk, or with those of a
/// server as it is installed.
///
/// # Errors
/// It does not start.
pub async fn start(binaries: &ServerBinaries, profile: Profile) -> Result<LocalServer> {
    Ok(LocalServer::start(binaries, ServerOptions::new(profile)).await?)
}

/// An empty database on a server, made by this library, and a connection to it.
///
/// # Errors
/// It cannot be made.
pub async fn database(server: &LocalServer, name: &str) -> Result<(Database, PgConnection)> {
    use upgrade_core::postgres::database::{Marker, MarkerKind};

    let database = Database::new(&server.connect_options(), name);
    let mut admin = database.connect_maintenance().await?;
    let marker = Marker::new(MarkerKind::Test, "benches");
    database.create(&mut admin, &marker).await?;
    let connection = database.connect().await?;
    Ok((database, connection))
}

/// Runs SQL that is not known before the program runs.
///
/// # Errors
/// What the server said.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    sql.execute(connection).await.map(drop)
}

/// Connects and asks one question, as a test does first.
///
/// # Errors
/// What the server said.
pub async fn first_query(database: &Database) -> Result<PgConnection> {
    let mut connection = database.connect().await?;
    run(&mut connection, "select 1").await?;
    Ok(connection)
}

/// A client program of the server's version, pointed at a database.
pub fn client(server: &LocalServer, program: &str, database: &str) -> Command {
    let mut command = Command::new(server.binaries().program(program));
    command
        .arg("--host")
        .arg(server.socket_dir())
        .args(["--port", &server.connect_options().get_port().to_string()])
        .args(["--username", "postgres", "--dbname", database])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a program prints.
///
/// # Errors
/// It cannot be started, or fails.
pub async fn output(mut command: Command) -> Result<String> {
    let output = command.output().await?;
    ended(&command, output.status, &output.stderr)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Feeds what one program prints to another.
///
/// # Errors
/// One cannot be started, or fails.
pub async fn pipe(mut from: Command, mut to: Command) -> Result<()> {
    let mut first = from.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let out = first.stdout.take().ok_or("a pipe has an end")?;
    let out: Stdio = out.try_into()?;
    let second = to.stdin(out).stderr(Stdio::piped()).spawn()?;
    let (first, second) = tokio::try_join!(first.wait_with_output(), second.wait_with_output())?;
    ended(&from, first.status, &first.stderr)?;
    ended(&to, second.status, &second.stderr)
}

fn ended(command: &Command, status: ExitStatus, stderr: &[u8]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let program = command.as_std().get_program().display();
    let said = String::from_utf8_lossy(stderr);
    Err(format!("`{program}` ended with {status}: {}", said.trim()).into())
}

fn provider() -> Result<ProviderOptions> {
    let mut options = ProviderOptions::from_env()?;
    options.url = None;
    Ok(options)
}
