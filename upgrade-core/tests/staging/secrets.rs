//! No secret leaves: canaries stand in every place where there are secrets, and everything that
//! comes out is searched, what is traced at the finest level among it.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use upgrade_core::CommandLine;
use upgrade_core::docker::{Condition, Healthcheck, Image, Service, ServiceFile, Stack};
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::event::EventRecord;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::{CommandMigration, SqlMigration};
use upgrade_core::{Environment, Migration, Plan, Runner, Scenario, Upgrade};

use super::support::{Fixture, IMAGE, context, database};

type Output = Arc<Mutex<String>>;

fn add(output: &Output, text: impl Debug) {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(output, "{text:?}").unwrap();
}

/// Keeps all that is traced.
struct Everything(Output);

struct Fields<'o>(&'o Output);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        add(self.0, (field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        add(self.0, (field.name(), value));
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        add(&self.0, span.metadata().name());
        span.record(&mut Fields(&self.0));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&self.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        add(&self.0, event.metadata().target());
        event.record(&mut Fields(&self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Leads what others log by the crate `log` to where it is traced, as programs do.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::dispatcher::get_default(|dispatch| {
            if let Some(Everything(output)) = dispatch.downcast_ref() {
                add(output, (record.target(), record.args().to_string()));
            }
        });
    }

    fn flush(&self) {}
}

/// Everything that comes out of a test, from here on.
fn listen() -> (Output, tracing::subscriber::DefaultGuard) {
    let _ = log::set_logger(&Bridge);
    log::set_max_level(log::LevelFilter::Trace);
    let output = Output::default();
    let guard = tracing::subscriber::set_default(Everything(Arc::clone(&output)));
    (output, guard)
}

fn assert_no_canary(output: &Output) {
    let output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let with = output.lines().find(|line| line.contains("canary"));
    assert_eq!(with, None);
}

fn add_error(output: &Output, error: &(dyn std::error::Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        add(output, (error.to_string(), format!("{error:?} {error:#?}")));
        next = error.source();
    }
}

/// A service that prints what it was given, in each way.
fn teller(then: &str) -> Service {
    let script = format!(
        "echo $API_TOKEN $DATABASE_URL; cat /run/secrets/key; \
         echo \"password 'guessed-canary' PGPASSWORD=guessed-canary\" >&2; {then}"
    );
    let mut service = Service::new(Image::named(IMAGE))
        .with_env("API_TOKEN", "token-canary")
        .with_env("DATABASE_URL", "postgres://shop:url%2Fcanary@db/shop")
        .with_file(ServiceFile::new(
            "key",
            "/run/secrets/key",
            "first-canary\nlast-canary\n",
        ));
    service.entrypoint = Some(["sh", "-c"].map(str::to_owned).into());
    service.command = Some(vec![script]);
    // It ends when it is asked to.
    service.init = true;
    service
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn no_secret_is_in_the_error_of_a_start() {
    let check = Healthcheck::shell("echo $API_TOKEN; cat /run/secrets/key; exit 1");
    for (service, expected) in [
        (teller("exit 3"), "exited with code 3"),
        (
            teller("exec sleep 600").with_healthcheck(check),
            "its health check ends with 1: ***",
        ),
    ] {
        let (fixture, cx) = (Fixture::new(), context());
        let (output, _guard) = listen();
        let environment = fixture
            .environment()
            .with_release("1", Stack::new().with_service("teller", service))
            .with_ready_within(std::time::Duration::from_secs(2));
        let error = environment.prepare(&cx).await.unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{error:?}");
        add_error(&output, &error);
        assert_no_canary(&output);
    }
}

fn shop(fixture: &Fixture) -> DockerEnvironment {
    let mut db = database().with_env("POSTGRES_PASSWORD", "p%w'd/canary");
    db.healthcheck = database().healthcheck;
    let stack = Stack::new().with_service("db", db).with_service(
        "teller",
        teller("exec sleep 600").after("db", Condition::Healthy),
    );
    fixture
        .environment()
        .with_release("1", stack.clone())
        .with_release("2", stack)
        .with_database("db")
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn no_secret_is_in_what_a_run_says() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("1_t.sql", "create table t (a text unique)");
    write(
        "2_role.sql",
        "create role r password 'role-canary'; select 1 / 0;",
    );
    let migrations = MigrationFolder::read(folder.path()).unwrap();
    let sql = SqlMigration::all(&migrations).unwrap();
    let command = CommandLine::new("sh")
        .with_args(["-c", "echo $DATABASE_URL $KEY; env >&2; exit 3"])
        .with_env("KEY", "env-canary");
    let command: Vec<Arc<dyn Migration>> = vec![Arc::new(CommandMigration::new("1", "x", command))];
    for (migrations, expected) in [(sql, "division by zero"), (command, "exit status: 3")] {
        let fixture = Fixture::new();
        let (output, _guard) = listen();
        let environment = shop(&fixture);
        let upgrade = Upgrade::new("shop", "1", "2").with_migrations(migrations);
        let outline = upgrade.outline(Capabilities::of(&environment));
        let plan = Plan::new(&outline, Scenario::Upgrade, 1).unwrap();
        let events = Arc::clone(&output);
        let runner = Runner::new(upgrade, environment).with_sink(move |record: &EventRecord| {
            add(&events, (record, serde_json::to_string(record).unwrap()));
        });
        let result = runner.run(&plan).await;
        if let Err(error) = &result {
            add_error(&output, error);
        }
        let report = match &result {
            Ok(report) => report,
            Err(error) => error.report().unwrap(),
        };
        let text = format!("{report} {}", report.to_json());
        assert!(text.contains(expected) && !report.passed, "{text}");
        assert!(
            report
                .logs
                .iter()
                .any(|tail| tail.lines.iter().any(|line| line.contains("***")))
        );
        add(&output, text);
        assert_no_canary(&output);
        let traced = output.lock().unwrap().clone();
        assert!(traced.contains("\"step\""), "nothing was traced");
    }
}
