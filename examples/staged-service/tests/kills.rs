//! The system as processes on one machine, upgraded by a tool that is killed at random moments, as the
//! services and the server of the database are: no order that was acknowledged is lost, none is worked
//! on twice, and each life comes to its end.
//!
//! The life of an operation is apply, rollback, apply, finalize, under users who place orders all the time.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::BTreeSet;
use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use upgrade_core::environment::{
    At, CommandServices, DATABASE, Endpoints, Existing, PostgresEnvironment, ServiceCommands,
    Services as _,
};
use upgrade_core::journal::{Actor, Entry, FileStore, Journal, Record, Standing, State, verify};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::observation::Scope;
use upgrade_core::operation::{Act, Consent, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::validator::Invariant;
use upgrade_core::{
    CommandLine, Environment as _, Migration as _, Result, Upgrade, UpgradeContext, Version,
};

/// What a tool is told: the folder of its machine, and where the database is.
const TOOL: &str = "UPGRADE_KILLS_TOOL";

/// The same numbers for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A machine with the services of one system, whose database is on a server beside it.
#[derive(Debug, Clone)]
struct Machine {
    folder: PathBuf,
    socket: String,
    port: String,
    database: String,
    listen: String,
}

impl Machine {
    fn told(&self) -> String {
        let Self {
            folder,
            socket,
            port,
            database,
            listen,
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

    fn read(told: &str) -> Self {
        let lines: Vec<String> = told.split('\n').map(str::to_owned).collect();
        let [folder, socket, port, database, listen] = lines.try_into().unwrap();
        Self {
            folder: folder.into(),
            socket,
            port,
            database,
            listen,
        }
    }

    fn database(&self) -> Database {
        let options = PgConnectOptions::new()
            .socket(&self.socket)
            .port(self.port.parse().unwrap())
            .username("orders");
        Database::new(&options, &self.database)
    }

    fn script(&self, does: &str) -> CommandLine {
        let releases = Path::new(env!("CARGO_BIN_EXE_orders-v1")).parent().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service.sh");
        CommandLine::new("sh")
            .with_args(["-c", "cd \"$MACHINE\" && exec \"$0\" \"$1\"", script, does])
            .with_env("MACHINE", self.folder.display().to_string())
            .with_env("RELEASES", releases.display().to_string())
            .with_env("LISTEN", self.listen.as_str())
            .with_env("DATABASE_HOST", self.socket.as_str())
            .with_env("DATABASE_PORT", self.port.as_str())
            .with_env("PGDATABASE", self.database.as_str())
            .with_env("DATABASE_PASSWORD_FILE", "/dev/null")
    }

    fn services(&self) -> CommandServices {
        let service =
            |name: &str| ServiceCommands::new(name, self.script("start"), self.script("release"));
        CommandServices::new([service("api").after("worker"), service("worker")]).unwrap()
    }

    fn environment(&self) -> PostgresEnvironment {
        PostgresEnvironment::new("orders", Existing::new(self.database()))
            .with_services(self.services())
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("orders.journal")
    }

    async fn operation(&self) -> Result<Operation> {
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
            Operation::new(journal, upgrade, move || machine.environment())
                .with_consent(Consent::to(lost)),
        )
    }

    /// The children of the supervisor of a service are killed; it starts the service again.
    fn kill(&self, service: &str) {
        let group = std::fs::read_to_string(self.folder.join(format!("{service}.group")));
        let Ok(group) = group else { return };
        let killed = Command::new("pkill")
            .args(["-KILL", "-P", group.trim()])
            .status();
        killed.unwrap();
    }

    fn stands(&self) -> State {
        // Killed in the middle of a line, the journal ends with a part of it.
        let bytes = std::fs::read(self.journal()).unwrap_or_default();
        let newline = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = newline.map_or(0, |end| end + 1);
        Standing::of(verify(&bytes[..whole]).unwrap().records()).state
    }

    fn spawn_tool(&self) -> Child {
        let said = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("tool.log"));
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "tool", "--nocapture"])
            .env(TOOL, self.told())
            .stdout(Stdio::null())
            .stderr(said.unwrap())
            .spawn()
            .unwrap()
    }
}

/// Ends the services of a machine, with their supervisors.
struct Running(PathBuf);

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

/// Does nothing but where a test has started it: lives until it is killed.
#[tokio::test]
async fn tool() {
    if let Ok(told) = env::var(TOOL) {
        live(&Machine::read(&told)).await.unwrap();
    }
}

fn has_rolled_back(history: &[Record]) -> bool {
    let standing_at = |end: usize| Standing::of(&history[..end]).state;
    let done = |record: &Record| matches!(record.entry, Entry::Done { .. });
    (1..=history.len())
        .filter(|end| done(&history[end - 1]))
        .any(|end| standing_at(end) == State::RolledBack)
}

async fn live(machine: &Machine) -> Result<()> {
    let operation = machine.operation().await?;
    loop {
        let status = operation.status().await;
        let report = if status.acts.contains(&Act::Resume) {
            operation.resume().await?
        } else {
            match status.standing.state {
                State::Soaking if has_rolled_back(&operation.history().await) => {
                    Some(operation.finalize().await?)
                }
                // The server was killed during a rollback. A person would look first.
                State::Soaking | State::Paused => Some(operation.rollback().await?),
                State::Finalized => return operation.close().await.map(drop),
                State::Nothing | State::RolledBack => {
                    let proposal = operation.plan().await?.unwrap();
                    Some(operation.apply(&proposal).await?)
                }
                State::Applying => Some(operation.rollback().await?),
                other => panic!("stuck at {other:?}: {status}"),
            }
        };
        if let Some(report) = report.filter(|report| !report.passed) {
            let back = report
                .steps
                .iter()
                .any(|step| step.title.contains("roll back"));
            assert!(back, "{status}\n{report}");
        }
    }
}

async fn server() -> LocalServer {
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

async fn execute(database: &Database, sql: &str) {
    let mut session = database.connect().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session);
    done.await.unwrap();
    session.close().await.unwrap();
}

async fn ask(session: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(session).await.unwrap()
}

/// A machine on which release 1 runs.
async fn machine(server: &LocalServer, folder: &Path, name: &str) -> Machine {
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
    let machine = Machine {
        folder,
        socket: server.socket_dir().display().to_string(),
        port: server.connect_options().get_port().to_string(),
        database: name.to_owned(),
        listen: free.to_string(),
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

/// Places orders until it is stopped, and notes what was acknowledged. One that is not is placed again.
async fn user(machine: Machine, user: u32, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    let http = reqwest::Client::builder().no_proxy();
    let http = http.timeout(Duration::from_secs(5)).build().unwrap();
    for number in 0.. {
        let id = format!("user{user}-{number:06}");
        let url = format!("http://{}/v1/orders/{id}", machine.listen);
        let order = format!(
            r#"{{"id":"{id}","customer":"c{number}","total":"{}.50","labels":{{"channel":"web"}}}}"#,
            number % 97
        );
        loop {
            let put = http.put(&url).header("content-type", "application/json");
            let answer = put.body(order.clone()).send().await;
            tokio::time::sleep(Duration::from_millis(10)).await; // the pace of a user
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                acknowledged.lock().unwrap().insert(id);
                break;
            }
        }
    }
}

/// The objects of the schema.
async fn schema(machine: &Machine) -> impl PartialEq + std::fmt::Debug + use<> {
    let cx = UpgradeContext::new("1", "2");
    let environment = machine.environment();
    environment.prepare(&cx).await.unwrap();
    let seen = environment.observe(&cx, &At::Live, &Scope::Schema).await;
    environment.teardown(&cx).await.unwrap();
    seen.unwrap().objects
}

/// `UPGRADE_KILLS` says how many kills; `UPGRADE_SEED` at which moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_by_kills_of_tool_services_and_server() {
    let number = |name: &str, usual| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (wanted, seed) = (number("UPGRADE_KILLS", 10), number("UPGRADE_SEED", 1));
    let mut dice = Dice(seed);
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let machine = machine(&server, folder.path(), "whole").await;
        let _services = Running(machine.folder.clone());
        live(&machine).await.unwrap();
        schema(&machine).await
    };
    let begun = Instant::now();
    let (mut tools, mut services, mut servers) = (0, 0, 0);
    let (mut lives, mut placed) = (0, 0);
    while tools + services + servers < wanted {
        let machine = machine(&server, folder.path(), &format!("life{lives}")).await;
        let _services = Running(machine.folder.clone());
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let users: Vec<_> = (0..3)
            .map(|number| tokio::spawn(user(machine.clone(), number, Arc::clone(&acknowledged))))
            .collect();
        let mut processes = 0;
        while machine.stands() != State::Finalized {
            processes += 1;
            let said = || std::fs::read_to_string(machine.folder.join("tool.log")).unwrap();
            assert!(
                processes < 300,
                "stuck at {:?}\n{}",
                machine.stands(),
                said()
            );
            let mut tool = machine.spawn_tool();
            loop {
                let moment = Instant::now() + Duration::from_millis(20 + dice.below(1_200));
                while Instant::now() < moment && tool.try_wait().unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await; // poll
                }
                if tool.try_wait().unwrap().is_some() {
                    break;
                }
                if tools + services + servers >= wanted {
                    tokio::task::block_in_place(|| tool.wait()).unwrap();
                    break;
                }
                match dice.below(8) {
                    0..5 => {
                        tools += 1;
                        tool.kill().unwrap();
                        tool.wait().unwrap();
                        break;
                    }
                    which @ 5..7 => {
                        services += 1;
                        machine.kill(if which == 5 { "api" } else { "worker" });
                    }
                    _ => {
                        servers += 1;
                        server.kill().await.unwrap();
                        server.restart().await.unwrap();
                    }
                }
            }
        }
        for user in users {
            user.abort();
            user.await.unwrap_err();
        }
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        let mut session = machine.database().connect().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ask(&mut session, "select order_id from outbox")
            .await
            .is_empty()
        {
            assert!(Instant::now() < deadline, "the worker does not work");
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        let there: BTreeSet<String> = ask(&mut session, "select id from orders")
            .await
            .into_iter()
            .collect();
        let done: BTreeSet<String> = ask(&mut session, "select order_id from receipts")
            .await
            .into_iter()
            .collect();
        let twice = ask(
            &mut session,
            "select order_id from receipts where times > 1",
        )
        .await;
        let wrong = ask(
            &mut session,
            "select id from orders where total_cents is distinct from round(total * 100) or channel is distinct from 'web'",
        );
        let wrong = wrong.await;
        session.close().await.unwrap();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{lost:?} of {} are lost",
            acknowledged.len()
        );
        assert_eq!((&done, twice.len(), wrong.len()), (&there, 0, 0));
        assert_eq!(schema(&machine).await, whole);
        let cx = UpgradeContext::new("1", "2");
        let running = machine.services().running(&cx).await.unwrap();
        let new = Some(Version::new("2"));
        assert!(
            running.values().all(|release| *release == new),
            "{running:?}"
        );
        placed += acknowledged.len();
        lives += 1;
    }
    println!(
        "seed {seed}: {tools} kills of the tool, {services} of services, {servers} of the server, in {lives} \
         lives and {:?}: stuck 0, wrong 0, lost 0 of {placed} orders",
        begun.elapsed()
    );
}
