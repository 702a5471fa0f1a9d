//! What the options say of the system: the database, its services, their configuration.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use upgrade_core::configuration::ConfigFiles;
use upgrade_core::environment::{CommandServices, Existing, PostgresEnvironment, ServiceCommands};
use upgrade_core::journal::{Actor, FileStore, Journal};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::notify::{Format, Outbox, OutboxHandle, Webhook};
use upgrade_core::operation::{Attestation, Consent, Named, OnTerminal, Operation};
use upgrade_core::postgres::Database;
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::validator::Invariant;
use upgrade_core::{CommandLine, Scenario, Secret, Upgrade};

use crate::Result;

/// How long the last notifications are waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Args)]
pub(crate) struct System {
    /// The database, such as `postgres://deploy:secret@db1/orders`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: String,
    /// The folder of the migrations.
    #[arg(long, default_value = "migrations")]
    migrations: PathBuf,
    /// The release that runs now.
    #[arg(long, default_value = "previous")]
    pub(crate) from: String,
    /// The release that the migrations lead to.
    #[arg(long, default_value = "next")]
    pub(crate) to: String,
    /// Rolls back by a copy of the database, which loses what is written after it; without this, by the
    /// down migrations.
    #[arg(long)]
    by_copy: bool,
    /// What rehearsals have passed: only that is applied, in `round_trip` and `rollback`. It also tells what
    /// a rollback loses, and how long it takes.
    #[arg(long)]
    attestation: Option<PathBuf>,
    /// Agrees to lose this in a rollback, such as `writes` or `column public.orders.note`; can be given
    /// several times.
    #[arg(long = "accept-loss", value_name = "SUBJECT")]
    accept_losses: Vec<String>,
    /// A service that is replaced after the migrations. Its script gets `start`, `release`, `healthy` or
    /// `artifact`; can be given several times, each service after those that it needs.
    #[arg(long = "service", value_name = "NAME=SCRIPT", value_parser = pair)]
    services: Vec<(String, String)>,
    /// The folder, or the file, of the configuration that the services read.
    #[arg(long, requires_all = ["config_new", "config_store"])]
    config: Option<PathBuf>,
    /// The same for the new release.
    #[arg(long)]
    config_new: Option<PathBuf>,
    /// A folder on the same file system, in which the configurations are kept until the upgrade is over.
    #[arg(long)]
    config_store: Option<PathBuf>,
    /// A check: a query that must return no rows; can be given several times.
    #[arg(long = "invariant", value_name = "NAME=SQL", value_parser = pair)]
    invariants: Vec<(String, String)>,
    /// Where people are told what happens: the URL of an incoming webhook, in the format of Slack.
    #[arg(long, env = "DEPLOY_WEBHOOK", hide_env_values = true)]
    webhook: Option<String>,
    /// Writes no claim into the database, and requires none.
    #[arg(long)]
    without_claim: bool,
    /// Who does it, for the journal.
    #[arg(long, env = "USER", default_value = "unknown")]
    actor: String,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The name of the database, so that nobody changes another one by mistake. Asked for on a terminal.
    #[arg(long)]
    confirm: Option<String>,
}

/// What a command works with.
pub(crate) struct Tool {
    pub(crate) operation: Operation,
    outbox: Option<OutboxHandle>,
}

impl Tool {
    /// Closes the journal: nobody has died.
    pub(crate) async fn close(self) -> Result<()> {
        if let Some(outbox) = self.outbox {
            for (channel, count) in outbox.close(LAST_WORDS).await {
                if count > 0 {
                    eprintln!("the next command delivers {count} notifications to {channel}");
                }
            }
        }
        self.operation.close().await?;
        Ok(())
    }
}

/// `NAME=REST`.
fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('=')
        .filter(|(name, rest)| !name.is_empty() && !rest.is_empty());
    let (name, rest) = parts.ok_or("it has the form NAME=..")?;
    Ok((name.to_owned(), rest.to_owned()))
}

impl System {
    pub(crate) fn database(&self) -> Result<Database> {
        Ok(Database::from_url(&Secret::new(&self.database))?)
    }

    /// The same as [`tool`](Self::tool), with a question before the system changes.
    pub(crate) async fn tool_asking(&self, journal: &Path, confirm: &Confirm) -> Result<Tool> {
        if !confirm.is_given() && !io::stdin().is_terminal() {
            let name = self.database()?.name().to_owned();
            return Err(format!("nothing was done: give `--confirm {name}`").into());
        }
        let mut tool = self.tool(journal).await?;
        tool.operation = match &confirm.confirm {
            Some(typed) => tool.operation.with_confirmation(Named::new(typed)),
            None => tool.operation.with_confirmation(OnTerminal::new()),
        };
        Ok(tool)
    }

    /// The operation, and who delivers its notifications.
    pub(crate) async fn tool(&self, journal: &Path) -> Result<Tool> {
        let database = self.database()?;
        let name = database.name().to_owned();
        let migrations = SqlMigration::all(&MigrationFolder::read(&self.migrations)?)?;
        let upgrade = Upgrade::new(&name, self.from.as_str(), self.to.as_str());
        let upgrade = match self.by_copy {
            true => upgrade.with_rollback(SnapshotSwap::new().adopted(&name)),
            false => {
                upgrade.with_rollback(RevertMigrations::new(migrations.clone()).adopted(&name))
            }
        };
        let mut upgrade = upgrade.with_migrations(migrations);
        for (name, sql) in &self.invariants {
            upgrade = upgrade.with_validator(Invariant::new(name, sql));
        }
        let store = FileStore::open(journal)?;
        let journal = Journal::open(store, &name, Actor::new(&self.actor)).await?;
        journal.hide(&Secret::new(&self.database));
        let outbox = match &self.webhook {
            Some(url) => {
                let chat = Webhook::new("chat", Secret::new(url), Format::Slack)?;
                Some(
                    Outbox::new(journal.clone())
                        .with_channel(chat)
                        .start()
                        .await?,
                )
            }
            None => None,
        };
        self.services()?;
        let system = self.clone();
        let operation = Operation::new(journal, upgrade, move || system.environment(&database));
        let operation = match &self.attestation {
            Some(path) => {
                let attestation = Attestation::from_json(&fs::read_to_string(path)?)?;
                let scenarios = [Scenario::RoundTrip, Scenario::Rollback];
                operation.with_attestation(attestation, scenarios)
            }
            None => operation,
        };
        let operation = operation.with_consent(Consent::to(&self.accept_losses));
        let operation = match self.without_claim {
            true => operation.without_claim(),
            false => operation,
        };
        Ok(Tool {
            operation: operation.with_sink(Progress::for_terminal()),
            outbox,
        })
    }

    fn environment(&self, database: &Database) -> PostgresEnvironment {
        let existing = Existing::new(database.clone());
        let mut environment = PostgresEnvironment::new("production", existing);
        // They were looked at when the tool began.
        if let Ok(Some(services)) = self.services() {
            environment = environment.with_services(services);
        }
        if let (Some(live), Some(new), Some(store)) =
            (&self.config, &self.config_new, &self.config_store)
        {
            let files = ConfigFiles::new("the services", live, store, new);
            environment = environment.with_configuration(files);
        }
        environment
    }

    fn services(&self) -> Result<Option<CommandServices>> {
        if self.services.is_empty() {
            return Ok(None);
        }
        let mut needed: Vec<&str> = Vec::new();
        let mut services = Vec::new();
        for (name, script) in &self.services {
            let does = |what: &str| CommandLine::new(script).with_arg(what);
            let mut service = ServiceCommands::new(name, does("start"), does("release"))
                .with_health(does("healthy"))
                .with_artifact(does("artifact"));
            for other in &needed {
                service = service.after(*other);
            }
            needed.push(name);
            services.push(service);
        }
        Ok(Some(CommandServices::new(services)?))
    }
}

impl Confirm {
    /// Whether the answer was given beforehand.
    pub(crate) fn is_given(&self) -> bool {
        self.confirm.is_some()
    }
}
