//! The tool as a person uses it, on a real database: also killed, and wrongly used.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{Standing, verify};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::plan::Action;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};

use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{Plan, Runner, Scenario, Upgrade};

/// A server with a database `orders`, and a folder for the journal.
struct Production {
    server: LocalServer,
    folder: tempfile::TempDir,
}

impl Production {
    async fn new() -> Self {
        let options = ProviderOptions::from_env().unwrap();
        let Found::Binaries(binaries) = discover(&ServerRequirement::any(), &options).unwrap()
        else {
            panic!("these tests start their own server: unset UPGRADE_PG_URL");
        };
        let server = LocalServer::start(&binaries, ServerOptions::new(Profile::ThrowAway));
        let this = Self {
            server: server.await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        this.sql_in("postgres", "create database orders").await;
        this
    }

    fn url(&self) -> String {
        let options = self.server.connect_options();
        let socket = self.server.socket_dir().display().to_string();
        let (user, port) = (options.get_username(), options.get_port());
        let host = socket.replace('/', "%2F");
        format!("postgres://{user}@{host}:{port}/orders")
    }

    async fn sql_in(&self, database: &str, sql: &'static str) {
        let options = self.server.connect_options().database(database);
        let mut session = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut session).await.unwrap();
        session.close().await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let options = self.server.connect_options().database("orders");
        let mut session = PgConnection::connect_with(&options).await.unwrap();
        let count = sqlx::query_scalar(sql).fetch_one(&mut session).await;
        session.close().await.unwrap();
        count.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of somebody.
    fn command(&self, actor: &str, migrations: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy-tool"));
        command
            .args(arguments)
            .env("DEPLOY_JOURNAL", self.file("orders.journal"))
            .env("DATABASE_URL", self.url())
            .env("USER", actor)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null());
        let reads_migrations = !["status", "history", "verify", "attest"].contains(&arguments[0]);
        if reads_migrations {
            command.arg("--migrations").arg(migrations);
        }
        command
    }

    /// What the command has printed, with its exit code.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let Output {
            status,
            stdout,
            stderr,
        } = self
            .command("ann", &migrations, arguments)
            .output()
            .unwrap();
        let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (status.code(), said.concat())
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, Some(1), "{said}");
        said
    }
}

const APPLY: &[&str] = &["apply", "--confirm", "orders"];
const ROLL_BACK: &[&str] = &["rollback", "--confirm", "orders"];
const FINALIZE: &[&str] = &["finalize", "--confirm", "orders"];

#[tokio::test]
async fn the_day_of_an_upgrade() {
    let production = Production::new().await;
    // The release before had the first migration, and users.
    let first = "apply --confirm orders --to 1.8.0"
        .split(' ')
        .collect::<Vec<_>>();
    let folder = production.file("1.8.0");
    std::fs::create_dir(&folder).unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for end in ["up", "down"] {
        let name = format!("0001_orders.{end}.sql");
        std::fs::copy(migrations.join(&name), folder.join(&name)).unwrap();
    }
    let applied = production.command("ann", &folder, &first).status().unwrap();
    assert!(applied.success());
    let made_final = production
        .command("ann", &folder, FINALIZE)
        .status()
        .unwrap();
    assert!(made_final.success());
    let rows =
        "insert into orders (customer, cents) select 'c' || n, n from generate_series(1, 1000) n";
    production.sql_in("orders", rows).await;

    // Planned, saved, looked at, confirmed.
    let plan = production.file("plan.json").display().to_string();
    let said = production.succeeds(&["plan", "--save", &plan]);
    assert!(said.contains("pending      3 of 4 migrations"), "{said}");
    let said = production.fails(&["apply", "--plan", &plan]);
    assert!(said.contains("give `--confirm orders`"), "{said}");
    let said = production.fails(&["apply", "--plan", &plan, "--confirm", "order"]);
    assert!(said.contains("`order` is not `orders`"), "{said}");
    let said = production.succeeds(&["apply", "--plan", &plan, "--confirm", "orders"]);
    assert!(said.contains("can be rolled back"), "{said}");

    // Users write; something is wrong; it is rolled back, and nothing is lost.
    production
        .sql_in(
            "orders",
            "insert into orders (customer, cents) values ('late', 1)",
        )
        .await;
    let said = production.fails(APPLY);
    assert!(
        said.contains("possible now: `rollback`, `finalize`"),
        "{said}"
    );
    let said = production.succeeds(ROLL_BACK);
    assert!(said.contains("the upgrade was rolled back"), "{said}");
    assert_eq!(production.count("select count(*) from orders").await, 1001);
    let tables = "select count(*) from pg_class where relname = 'parcels'";
    assert_eq!(production.count(tables).await, 0);

    // The plan that was saved is of the same system, so it is good for a second attempt.
    production.succeeds(&["apply", "--plan", &plan, "--confirm", "orders"]);
    production.succeeds(FINALIZE);
    assert_eq!(production.count(tables).await, 1);
    let said = production.fails(ROLL_BACK);
    assert!(said.contains("the upgrade is final"), "{said}");
    let said = production.succeeds(APPLY);
    assert!(said.contains("nothing is pending"), "{said}");
    assert!(production.succeeds(&["leftovers"]).is_empty());
    assert!(production.succeeds(&["history"]).lines().count() > 60);
    assert!(production.succeeds(&["verify"]).contains("head"));
}

#[tokio::test]
async fn a_tool_that_is_killed_is_resumed_or_rolled_back() {
    for then in ["resume", "rollback"] {
        let production = Production::new().await;
        let migrations = production.file("slow");
        std::fs::create_dir(&migrations).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        for file in std::fs::read_dir(&source).unwrap() {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            let slow = match file.file_name().to_str().unwrap() {
                "0003_parcels.up.sql" => format!("select pg_sleep(2);\n{text}"),
                _ => text,
            };
            std::fs::write(migrations.join(file.file_name()), slow).unwrap();
        }
        let mut first = production
            .command("ann", &migrations, APPLY)
            .spawn()
            .unwrap();
        // In the middle of the third migration.
        let begun = Instant::now();
        let is_there = || {
            let bytes = std::fs::read(production.file("orders.journal")).unwrap_or_default();
            let Ok(chain) = verify(&bytes) else {
                return false;
            };
            let Some(Action::Apply { migration }) = Standing::of(chain.records()).interrupted
            else {
                return false;
            };
            migration.version() == "0003"
        };
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
        let busy = production.fails(&["leftovers"]);
        assert!(busy.contains("in use by another process"), "{busy}");
        first.kill().unwrap();
        first.wait().unwrap();

        let said = production.succeeds(&["status"]);
        assert!(said.contains("interrupted  apply"), "{said}");
        assert!(said.contains("possible     resume, rollback"), "{said}");
        let arguments: &[&str] = match then {
            "resume" => &["resume"],
            _ => ROLL_BACK,
        };
        // The server needs a moment to see that the client is dead.
        let output = loop {
            let output = production
                .command("bob", &migrations, arguments)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr.clone()).unwrap();
            if output.status.success() || begun.elapsed() > Duration::from_secs(60) {
                break output;
            }
            assert!(said.contains("another operation"), "{said}");
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let tables = "select count(*) from pg_class where relname in ('orders', 'parcels')";
        match then {
            "resume" => {
                assert!(said.contains("can be rolled back"), "{said}");
                assert_eq!(production.count(tables).await, 2);
            }
            _ => {
                assert!(said.contains("was rolled back"), "{said}");
                assert_eq!(production.count(tables).await, 0);
            }
        }
        let said = production.succeeds(&["history"]);
        assert!(said.contains("ann@") && said.contains("bob@"), "{said}");
        production.succeeds(&["verify"]);
    }
}

/// Rehearses the migrations in a database of the same server that may be thrown away, as a test suite does,
/// and writes the reports.
async fn rehearse(production: &Production, migrations: &Path, reports: &Path) {
    std::fs::create_dir_all(reports).unwrap();
    production
        .sql_in("postgres", "create database staging")
        .await;
    let migrations = SqlMigration::all(&MigrationFolder::read(migrations).unwrap()).unwrap();
    for scenario in [Scenario::RoundTrip, Scenario::Rollback] {
        let database = Database::new(&production.server.connect_options(), "staging");
        let database = database.adopted("staging").unwrap();
        let environment = PostgresEnvironment::new("staging", Existing::disposable(database));
        let upgrade = Upgrade::new("orders", "1", "2")
            .with_rollback(RevertMigrations::new(migrations.clone()).adopted("staging"))
            .with_migrations(migrations.clone());
        let plan = Plan::new(&upgrade.outline_in(&environment).unwrap(), scenario, 1).unwrap();
        let report = Runner::new(upgrade, environment).run(&plan).await.unwrap();
        std::fs::write(reports.join(format!("{scenario}.json")), report.to_json()).unwrap();
        production.sql_in("postgres", "drop database staging").await;
        production
            .sql_in("postgres", "create database staging")
            .await;
    }
}

#[tokio::test]
async fn only_what_was_rehearsed_is_applied() {
    let production = Production::new().await;
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let (reports, attestation) = (
        production.file("reports"),
        production.file("attestation.json"),
    );
    let [folder, file] = [&reports, &attestation].map(|path| path.display().to_string());
    std::fs::create_dir(&reports).unwrap();
    let said = production.fails(&["attest", &folder, "--save", &file]);
    assert!(said.contains("no report"), "{said}");
    rehearse(&production, &migrations, &reports.join("upgrade")).await;
    let said = production.succeeds(&["attest", &folder, "--save", &file]);
    assert!(said.contains("4 migrations, 2 runs"), "{said}");

    // Files that nobody has rehearsed.
    let edited = production.file("edited");
    std::fs::create_dir(&edited).unwrap();
    for file in std::fs::read_dir(&migrations).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        std::fs::write(
            edited.join(file.file_name()),
            text.replace("int not null", "bigint not null"),
        )
        .unwrap();
    }
    let apply = ["apply", "--attestation", &file, "--confirm", "orders"];
    let output = production.command("ann", &edited, &apply).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("was rehearsed with another content"),
        "{said}"
    );
    let said = production.succeeds(&apply);
    assert!(said.contains("can be rolled back"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_changes_nothing() {
    let production = Production::new().await;
    production.succeeds(&["plan"]);
    let path = production.file("orders.journal");
    let whole = std::fs::read_to_string(&path).unwrap();
    // A journal that somebody has changed.
    std::fs::write(&path, whole.replacen("ann", "bob", 1)).unwrap();
    for command in [&["status"][..], &["verify"], &["history"], APPLY] {
        let said = production.fails(command);
        assert!(
            said.contains("line 1") && said.contains("it was changed"),
            "{said}"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    // Files that are not what they should be.
    let nonsense = production.file("nonsense.json").display().to_string();
    std::fs::write(&nonsense, "{}").unwrap();
    for option in ["--plan", "--attestation"] {
        let said = production.fails(&["apply", option, &nonsense, "--confirm", "orders"]);
        assert!(said.contains("cannot be read"), "{said}");
    }
    let said = production.succeeds(&["resume"]);
    assert!(said.contains("nothing was interrupted"), "{said}");
    assert_eq!(
        production
            .count("select count(*) from pg_class where relname = 'orders'")
            .await,
        0
    );
    // A reader of the process list or of the journal learns no password.
    assert!(!whole.contains("postgres://"), "{whole}");
}

/// A service that is a file with its release.
const SERVICE: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
case $1 in
start) echo "$UPGRADE_RELEASE" > release ;;
release) cat release ;;
healthy) ! test -e sick ;;
artifact) echo "build $UPGRADE_RELEASE" ;;
esac
"#;

#[tokio::test]
async fn services_and_configuration_go_with_the_database_and_a_watch_rolls_all_of_it_back() {
    let production = Production::new().await;
    let write = |name: &str, text: &str| std::fs::write(production.file(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(production.file(name)).unwrap();
    for folder in ["live", "new"] {
        std::fs::create_dir(production.file(folder)).unwrap();
    }
    write("live/app.conf", "pool = 4\n");
    write("new/app.conf", "pool = 8\n");
    write("release", "1.8.0\n");
    write("api", SERVICE);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(production.file("api"), executable).unwrap();
    let [service, live, new, store] =
        ["api", "live", "new", "store"].map(|name| production.file(name).display().to_string());
    let service = format!("api={service}");
    let system = [
        "--from",
        "1.8.0",
        "--to",
        "1.9.0",
        "--service",
        &service,
        "--config",
        &live,
        "--config-new",
        &new,
        "--config-store",
        &store,
        "--invariant",
        "no order is free=select * from orders where cents = 0",
    ];
    let with = |command: &[&'static str]| -> Vec<&str> { [command, system.as_slice()].concat() };

    // What is there before, by the tool as well: an empty system has no orders to check.
    let said = production.fails(&with(APPLY));
    assert!(said.contains("no order is free"), "{said}");
    production.succeeds(&["apply", "--confirm", "orders", "--to", "1.8.0"]);
    production.succeeds(FINALIZE);
    production
        .sql_in(
            "orders",
            "insert into orders (customer, cents) values ('c', 1)",
        )
        .await;

    // The migrations are there, so the services and their configuration are the upgrade.
    let said = production.succeeds(&with(&["plan"]));
    for part in [
        "service      api: 1.8.0 -> 1.9.0",
        "service      api returns to build 1.8.0",
        "config  ",
    ] {
        assert!(said.contains(part), "{said}");
    }
    production.succeeds(&with(APPLY));
    assert_eq!(
        (read("release"), read("live/app.conf")),
        ("1.9.0\n".to_owned(), "pool = 8\n".to_owned())
    );
    let policy = production.file("policy.json").display().to_string();
    write(
        "policy.json",
        r#"{"for_ms": 400, "every_ms": 50, "min_samples": 2,
            "rules": [{"roll_back": {"checks": "all", "failed": {"times": 2, "of": 3}}}]}"#,
    );
    let watch = [&["watch", "--policy", &policy], system.as_slice()].concat();
    production.succeeds(&watch);
    production
        .sql_in(
            "orders",
            "insert into orders (customer, cents) values ('c', 0)",
        )
        .await;
    let said = production.fails(&watch);
    assert!(
        said.contains("watch/failed") && said.contains("no order is free"),
        "{said}"
    );
    assert_eq!(
        (read("release"), read("live/app.conf")),
        ("1.8.0\n".to_owned(), "pool = 4\n".to_owned())
    );
}

#[tokio::test]
async fn what_a_rollback_loses_is_agreed_to_by_name() {
    let production = Production::new().await;
    let by_copy = "apply --confirm orders --by-copy"
        .split(' ')
        .collect::<Vec<_>>();
    let said = production.fails(&by_copy);
    assert!(said.contains("agree to it: `writes`"), "{said}");
    production.succeeds(APPLY);
    production
        .sql_in(
            "orders",
            "insert into orders (customer, cents, note) values ('c', 1, 'n')",
        )
        .await;
    let said = production.fails(ROLL_BACK);
    assert!(said.contains("`table public.orders`"), "{said}");
    let agreed = "rollback --confirm orders --accept-loss"
        .split(' ')
        .collect::<Vec<_>>();
    let said = production.succeeds(&[agreed.as_slice(), &["table public.orders"]].concat());
    assert!(said.contains("the upgrade was rolled back"), "{said}");
}
