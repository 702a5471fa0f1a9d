//! The system as processes on one machine.

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _};
use upgrade_core::environment::{
    CommandServices, DATABASE, Endpoints, Existing, PostgresEnvironment, ServiceCommands,
    Services as _,
};
use upgrade_core::journal::{Actor, FileStore, Journal, Standing, State, verify};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::operation::{Consent, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::validator::Invariant;
use upgrade_core::{CommandLine, Migration as _, Result, Upgrade, UpgradeContext, Version};

/// What a tool is told: the folder of its machine, and where the database is.
pub(crate) const TOOL: &str = "UPGRADE_KILLS_TOOL";

/// A machine with the services of one system, whose database is on a server beside it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) folder: PathBuf,
    socket: String,
    port: String,
    database: String,
    pub(crate) listen: String,
    /// How release 2 turns bad, if it is the one that does.
    pub(crate) bad: String,
}

impl Machine {
    pub(crate) fn told(&self) -> String {
        let Self {
            folder,
            socket,
            port,
            database,
            listen,
            bad: _,
        } = self;
        [
            &folder.display().to_string(),
            socket,
            port,
            database,
            listen,
        ]
        .map(String::as_str)
        .join("\n")
    }

    pub(crate) fn read(told: &str) -> Self {
        let lines: Vec<String> = told.split('\n').map(str::to_owned).collect();
        let [folder, socket, port, database, listen] = lines.try_into().unwrap();
        Self {
            folder: folder.into(),
            socket,
            port,
            database,
            listen,
            bad: String::new(),
        }
    }

    pub(crate) fn database(&self) -> Database {
        let options = PgConnectOptions::new()
            .socket(&self.socket)
            .port(self.port.parse().unwrap())
            .username("orders");
        Database::new(&options, &self.database)
    }

    fn script(&self, does: &str) -> CommandLine {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/service.sh");
        CommandLine::new("sh")
            .with_args(["-c", "cd \"$MACHINE\" && exec \"$0\" \"$1\"", script, does])
            .with_env("MACHINE", self.folder.display().to_string())
            .with_env(
                "RELEASES",
                self.folder.join("releases").display().to_string(),
            )
            .with_env("BAD", self.bad.as_str())
            .with_env("LISTEN", self.listen.as_str())
            .with_env("DATABASE_HOST", self.socket.as_str())
            .with_env("DATABASE_PORT", self.port.as_str())
            .with_env("PGDATABASE", self.database.as_str())
            .with_env("DATABASE_PASSWORD_FILE", "/dev/null")
    }

    pub(crate) fn services(&self) -> CommandServices {
        let service =
            |name: &str| ServiceCommands::new(name, self.script("start"), self.script("release"));
        CommandServices::new([service("api").after("worker"), service("worker")]).unwrap()
    }

    pub(crate) fn environment(&self) -> PostgresEnvironment {
        PostgresEnvironment::new("orders", Existing::new(self.database()))
            .with_services(self.services())
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("orders.journal")
    }

    pub(crate) async fn operation(&self) -> Result<Operation> {
        self.operation_with(|upgrade| upgrade).await
    }

    /// The same with more in the upgrade.
    pub(crate) async fn operation_with(
        &self,
        more: impl FnOnce(Upgrade) -> Upgrade,
    ) -> Result<Operation> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let migrations = SqlMigration::all(&MigrationFolder::read(folder)?)?;
        let rollback = RevertMigrations::new(migrations.clone()).adopted(&self.database);
        let upgrade = Upgrade::new("orders", "1", "2")
            .with_migrations(migrations)
            .with_rollback(rollback)
            .with_validator(Invariant::new(
                "every order has a total",
                "select * from orders where total is null",
            ));
        let store = FileStore::open(self.journal())?;
        let journal = Journal::open(store, "orders", Actor::new("ann")).await?;
        let machine = self.clone();
        let lost = [
            "column public.orders.channel",
            "column public.orders.total_cents",
        ];
        Ok(
            Operation::new(journal, more(upgrade), move || machine.environment())
                .with_consent(Consent::to(lost)),
        )
    }

    /// The children of the supervisor of a service are killed; it starts the service again.
    pub(crate) fn kill(&self, service: &str) {
        let group = std::fs::read_to_string(self.folder.join(format!("{service}.group")));
        // Not started yet, or just being started.
        let Some(group) = group.ok().filter(|group| !group.trim().is_empty()) else {
            return;
        };
        let killed = Command::new("pkill")
            .args(["-KILL", "-P", group.trim()])
            .status();
        killed.unwrap();
    }

    pub(crate) fn stands(&self) -> State {
        // Killed in the middle of a line, the journal ends with a part of it.
        let bytes = std::fs::read(self.journal()).unwrap_or_default();
        let newline = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = newline.map_or(0, |end| end + 1);
        Standing::of(verify(&bytes[..whole]).unwrap().records()).state
    }

    pub(crate) fn spawn_tool(&self) -> Child {
        let said = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("tool.log"));
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "kills::tool", "--nocapture"])
            .env(TOOL, self.told())
            .stdout(Stdio::null())
            .stderr(said.unwrap())
            .spawn()
            .unwrap()
    }
}

/// Ends the services of a machine, with their supervisors.
pub(crate) struct Running(pub(crate) PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        for service in ["api", "worker"] {
            let group = std::fs::read_to_string(self.0.join(format!("{service}.group")));
            if let Ok(group) = group {
                let group = format!("-{}", group.trim());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            }
        }
    }
}

pub(crate) async fn server() -> LocalServer {
    let options = ProviderOptions::from_env().unwrap();
    let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap() else {
        panic!("this test starts its own server: unset UPGRADE_PG_URL");
    };
    let options = ServerOptions::new(Profile::Killable);
    let server = LocalServer::start(&binaries, options).await.unwrap();
    let maintenance = Database::new(&server.connect_options(), "postgres");
    execute(&maintenance, "create role orders superuser login").await;
    server
}

pub(crate) async fn execute(database: &Database, sql: &str) {
    let mut session = database.connect().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session);
    done.await.unwrap();
    session.close().await.unwrap();
}

/// The binary of release 2.
pub(crate) const GOOD: &str = env!("CARGO_BIN_EXE_orders-v2");

/// A machine on which release 1 runs, with the binary of the second one.
pub(crate) async fn machine(
    server: &LocalServer,
    folder: &Path,
    name: &str,
    second: &str,
) -> Machine {
    let maintenance = Database::new(&server.connect_options(), "postgres");
    execute(
        &maintenance,
        &format!("create database {name} owner orders"),
    )
    .await;
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let releases = folder.join("releases");
    std::fs::create_dir(&releases).unwrap();
    for (name, binary) in [
        ("orders-v1", env!("CARGO_BIN_EXE_orders-v1")),
        ("orders-v2", second),
    ] {
        std::os::unix::fs::symlink(binary, releases.join(name)).unwrap();
    }
    let machine = Machine {
        folder,
        socket: server.socket_dir().display().to_string(),
        port: server.connect_options().get_port().to_string(),
        database: name.to_owned(),
        listen: free.to_string(),
        bad: String::new(),
    };
    let cx = UpgradeContext::new("1", "2")
        .with_endpoints(Endpoints::default().with(DATABASE, machine.database().endpoint()));
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrations = SqlMigration::all(&MigrationFolder::read(migrations).unwrap()).unwrap();
    let first = migrations[0].apply(&cx).await;
    let _ = first.unwrap().into_result().unwrap();
    let seed = "with one as (insert into orders (id, customer, total, labels) \
         values ('seed', 'c', 1.50, '{\"channel\": \"web\"}') returning id) \
         insert into outbox (order_id) select id from one";
    execute(&machine.database(), seed).await;
    let started = machine.services().replace(&cx, &Version::new("1")).await;
    let _ = started.unwrap().into_result().unwrap();
    machine
}
