//! Test databases on a server that is there already, which other processes use as well.
//!
//! Templates are databases, built under an advisory lock and marked complete last. A test database
//! is leased before it is made: its owner's session holds an advisory lock on its name, so the
//! lease ends with the process, and any later process may drop what is not leased. Before a test
//! gets a database it gets one of as many slots as the server has connections for.

mod budget;
mod lease;
mod sweep;
mod template;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor};
#[cfg(feature = "docker")]
use upgrade_core::RunId;
use upgrade_core::Secret;
use upgrade_core::lease::kept_seconds;
#[cfg(feature = "docker")]
use upgrade_core::postgres::container::{ContainerOptions, ContainerServer};
use upgrade_core::postgres::database::{Database, MAINTENANCE, Marker, MarkerKind};
use upgrade_core::postgres::server::OLDEST_MAJOR;

use super::error::PoolError;
use super::hand_out::{Host, KeepRule, TestDatabase};
use super::options::PoolOptions;
use super::registry::{Handle, Registry};
use super::template::Making;
use super::worker::{AtEnd, Worker};
pub use budget::BudgetFacts;
use lease::Owner;
pub(super) use lease::lease_key;
pub use sweep::Swept;
use sweep::{KEPT_UNTIL, Reach};

/// What the name of a test database begins with.
pub(super) const TEST_PREFIX: &str = "upgrade_test_";

/// What the name of a template begins with.
const TEMPLATE_PREFIX: &str = "upgrade_tpl_";

/// How long a process that is not let in waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What the server says when it has no connection left.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// How long the end of a process may take for dropping its databases; a drop waits for a
/// checkpoint of the server.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The shared servers of this process.
static HOSTS: Registry<SharedHost> = Registry::new();

/// The connections of this process to a shared server, and its locks there.
pub(super) struct SharedHost {
    // Fields are dropped in this order: the worker's last drops come before the leases end.
    worker: Worker,
    owner: Arc<Owner>,
    server: Database,
    facts: Facts,
    budget: BudgetFacts,
    slot_deadline: Duration,
    /// The server itself, where the pool started it in a container.
    #[cfg(feature = "docker")]
    container: Option<ContainerServer>,
}

impl fmt::Debug for SharedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedHost")
            .field("server", &self.server)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What is asked of a server before it is used.
#[derive(Debug)]
struct Facts {
    major: u16,
    /// Version and collation, as far as they decide what a template holds.
    content: String,
}

impl Facts {
    async fn read(admin: &mut PgConnection, place: &str) -> Result<Self, PoolError> {
        let (version, text, in_recovery, role, may_create, collation): (
            i32,
            String,
            bool,
            String,
            bool,
            String,
        ) = sqlx::query_as(
            "select current_setting('server_version_num')::int, version(), pg_is_in_recovery(), \
             current_user::text, r.rolcreatedb or r.rolsuper, \
             concat_ws(' ', d.datcollate, d.datctype, to_jsonb(d) ->> 'datcollversion', \
             pg_encoding_to_char(d.encoding)) \
             from pg_catalog.pg_roles r, pg_catalog.pg_database d \
             where r.rolname = current_user and d.datname = 'template0'",
        )
        .fetch_one(admin)
        .await
        .map_err(PoolError::database("ask the server what it is"))?;
        let major = u16::try_from(version / 10_000).unwrap_or_default();
        let place = place.to_owned();
        if major < OLDEST_MAJOR {
            return Err(PoolError::TooOld {
                place,
                found: major,
                oldest: OLDEST_MAJOR,
            });
        }
        if in_recovery {
            return Err(PoolError::InRecovery { place });
        }
        if !may_create {
            return Err(PoolError::NoCreateDb { place, role });
        }
        Ok(Self {
            major,
            content: format!("{text} {collation}"),
        })
    }
}

impl SharedHost {
    /// The connections of this process to a server; made if there are none yet.
    pub(super) async fn open(
        url: &Secret,
        options: &PoolOptions,
    ) -> Result<Handle<Self>, PoolError> {
        // Not the URL itself: it may hold a password.
        let key = format!(
            "{} {} {:?}",
            blake3::hash(url.expose().as_bytes()),
            options.connections_per_test,
            options.slot_deadline
        );
        let is_of_use = |host: &Self| !host.owner.is_lost();
        let host = HOSTS
            .get(key, is_of_use, || Self::start(url, options))
            .await?;
        match options.major {
            Some(wanted) if wanted != host.facts.major => Err(PoolError::WrongMajor {
                place: place(&host.server),
                wanted,
                found: host.facts.major,
            }),
            _ => Ok(host),
        }
    }

    /// A server in a container of this process; started if there is none yet. It ends with the
    /// last handle, or is swept when the process is killed.
    #[cfg(feature = "docker")]
    pub(super) async fn open_container(
        major: Option<u16>,
        options: &PoolOptions,
    ) -> Result<Handle<Self>, PoolError> {
        let key = format!("container {major:?} {}", options.connections_per_test);
        let is_of_use = |host: &Self| !host.owner.is_lost();
        let start = || async {
            let mut container = ContainerOptions::new(RunId::generate().as_str());
            if let Some(major) = major {
                container = container.with_major(major);
            }
            let container =
                ContainerServer::start(container)
                    .await
                    .map_err(|source| PoolError::Container {
                        source: source.into(),
                    })?;
            let server = Database::new(&container.connect_options(), "postgres");
            let mut host = Self::start(server.endpoint().url(), options).await?;
            host.container = Some(container);
            Ok(host)
        };
        HOSTS.get(key, is_of_use, start).await
    }

    async fn start(url: &Secret, options: &PoolOptions) -> Result<Self, PoolError> {
        let server =
            Database::from_url(url).map_err(PoolError::database("read the URL of the server"))?;
        let server = server.sibling(MAINTENANCE);
        let worker = Worker::start(server.clone(), AtEnd::Drop(END_LIMIT))?;
        let (place, per_test) = (place(&server), options.connections_per_test);
        let (job_server, job_handle) = (server.clone(), Arc::clone(worker.handle()));
        let within = options.slot_deadline;
        let job = async move {
            let (mut session, budget) = let_in(&job_server, &place, per_test, within).await?;
            let facts = Facts::read(&mut session, &place).await?;
            // It has nothing to say for as long as the process lives.
            session
                .execute("set idle_session_timeout = 0; set application_name = 'upgrade lease'")
                .await
                .map_err(PoolError::database("prepare the session of the leases"))?;
            Ok((facts, budget, Arc::new(Owner::new(place, session))))
        };
        let (facts, budget, owner) = worker.run(job).await?;
        worker.handle().spawn(async move {
            if let Err(error) = sweep::sweep_all(&job_handle).await {
                tracing::warn!(%error, "cannot sweep the server of the test databases");
            }
        });
        Ok(Self {
            worker,
            owner,
            server,
            facts,
            budget,
            slot_deadline: options.slot_deadline,
            #[cfg(feature = "docker")]
            container: None,
        })
    }

    /// Whether the server ends with this process, so that nothing of it can be kept.
    pub(super) fn ends_with_us(&self) -> bool {
        #[cfg(feature = "docker")]
        return self.container.is_some();
        #[cfg(not(feature = "docker"))]
        false
    }

    pub(super) fn major(&self) -> u16 {
        self.facts.major
    }

    /// What decides the content of a template besides its key.
    pub(super) fn fingerprint(&self) -> &str {
        &self.facts.content
    }

    /// A database of the server by its name.
    pub(super) fn database(&self, name: &str) -> Database {
        self.server.sibling(name)
    }

    /// Waits for a slot, then makes a database under a lease.
    pub(super) async fn hand_out(
        this: &Handle<Self>,
        making: Making,
        keep: KeepRule,
    ) -> Result<TestDatabase, PoolError> {
        let host = this.clone();
        // The answer is the guard itself: if nobody waits for it any more, it cleans up.
        let job = async move {
            let slot = host.owner.slot(&host.budget, host.slot_deadline).await?;
            match host.make_leased(&making).await {
                Ok(database) => {
                    let major = host.facts.major;
                    Ok(TestDatabase::new(
                        database,
                        Host::Shared(host),
                        major,
                        keep,
                        Some(slot),
                    ))
                }
                Err(error) => {
                    host.owner.end_slot(slot).await?;
                    Err(error)
                }
            }
        };
        this.worker.run(job).await
    }

    async fn make_leased(&self, making: &Making) -> Result<Database, PoolError> {
        let mut admin = self.worker.handle().admin().await?;
        let mut n = 1;
        loop {
            let name = making.name(n);
            n += 1;
            // Leased before it is made: at no moment is it there without an owner.
            if !self.owner.lease(&name).await? {
                continue;
            }
            let database = self.database(&name);
            match making.make(&mut admin, &database).await {
                Ok(true) => {
                    admin.give_back();
                    return Ok(database);
                }
                Ok(false) => self.owner.end_lease(&name).await?,
                Err(error) => {
                    self.owner.end_lease(&name).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Ends a test's use of a database, in the background: its sessions, its slot, its lease, and
    /// later the database itself unless it is kept.
    pub(super) fn release(&self, database: &Database, slot: Option<u32>, kept: bool) {
        let (owner, handle, database) = (
            Arc::clone(&self.owner),
            Arc::clone(self.worker.handle()),
            database.clone(),
        );
        self.worker.handle().spawn(async move {
            let released = async {
                let mut admin = handle.admin().await?;
                // What the test left open still counts against the connections of the server.
                database
                    .terminate_sessions(&mut admin, Duration::from_secs(2))
                    .await
                    .map_err(PoolError::database("end the sessions of a test"))?;
                admin.give_back();
                Ok::<_, PoolError>(())
            };
            let mut results = vec![released.await, owner.end_lease(database.name()).await];
            if let Some(slot) = slot {
                results.push(owner.end_slot(slot).await);
            }
            for error in results.into_iter().filter_map(Result::err) {
                tracing::debug!(database = database.name(), %error, "a test database was not released in order");
            }
            if !kept {
                handle.discard(database);
            }
        });
    }

    /// Marks a database as kept; answers until when.
    pub(super) async fn keep(
        &self,
        database: &Database,
        keep_for: Duration,
    ) -> Result<SystemTime, PoolError> {
        let (handle, database) = (Arc::clone(self.worker.handle()), database.clone());
        let until = SystemTime::now() + keep_for;
        self.worker
            .run(async move {
                let mut admin = handle.admin().await?;
                mark_kept(&mut admin, &database, until).await?;
                admin.give_back();
                Ok(until)
            })
            .await
    }

    /// As [`Self::keep`] and [`Self::release`], for a caller without a runtime.
    pub(super) fn keep_in_background(
        this: &Handle<Self>,
        database: &Database,
        slot: Option<u32>,
        keep_for: Duration,
    ) {
        let (host, database) = (this.clone(), database.clone());
        this.worker.handle().spawn(async move {
            let kept = host.keep(&database, keep_for).await;
            if let Err(error) = &kept {
                tracing::warn!(database = database.name(), %error, "cannot keep a test database");
            }
            host.release(&database, slot, kept.is_ok());
        });
    }

    /// Drops at most `limit` databases whose owner is dead.
    pub(super) async fn sweep(&self, limit: usize) -> Result<Swept, PoolError> {
        let handle = Arc::clone(self.worker.handle());
        self.worker
            .run(async move { sweep::sweep(&handle, Reach::Abandoned, limit).await })
            .await
    }

    /// Drops all templates and kept databases that nobody uses.
    pub(super) async fn clean(&self) -> Result<Swept, PoolError> {
        let handle = Arc::clone(self.worker.handle());
        self.worker
            .run(async move { sweep::sweep(&handle, Reach::Everything, usize::MAX).await })
            .await
    }

    /// The shell command that enters a database, without a password: `psql` asks for it.
    pub(super) fn enter_command(&self, name: &str) -> String {
        let options = self.server.connect_options();
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let words = [
            "-h",
            &host,
            "-p",
            &options.get_port().to_string(),
            "-U",
            options.get_username(),
            "-d",
            name,
        ]
        .map(quote);
        format!("psql {}", words.join(" "))
    }
}

/// A session of a process that may use the server; waits while too many others do, without
/// holding a connection.
async fn let_in(
    server: &Database,
    place: &str,
    per_test: u32,
    within: Duration,
) -> Result<(PgConnection, BudgetFacts), PoolError> {
    let start = Instant::now();
    let mut processes = None;
    loop {
        match server.connect().await {
            Ok(mut session) => {
                let budget = BudgetFacts::read(&mut session, per_test).await?;
                // Without room for a single test there is nothing to wait for: that is said when one asks.
                if budget.slots == 0 || lease::admit(&mut session, budget.processes).await? {
                    return Ok((session, budget));
                }
                processes = Some(budget.processes);
                // The server ends it in any case.
                let _ = session.close().await;
            }
            Err(error) if is_full(&error) && start.elapsed() < within => {}
            Err(error) => return Err(PoolError::database("connect to the server")(error)),
        }
        if let Some(processes) = processes
            && start.elapsed() >= within
        {
            return Err(PoolError::TooManyProcesses {
                place: place.to_owned(),
                waited: start.elapsed(),
                processes,
            });
        }
        tokio::time::sleep(ASK_AGAIN).await; // poll
    }
}

/// Whether the server refused a connection because it has none left.
fn is_full(error: &upgrade_core::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<sqlx::Error>())
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code().map(|code| code == TOO_MANY_CONNECTIONS))
        .unwrap_or(false)
}

async fn mark_kept(
    admin: &mut PgConnection,
    database: &Database,
    until: SystemTime,
) -> Result<(), PoolError> {
    let failed = || format!("keep database `{}`", database.name());
    let marker = database
        .marker(admin)
        .await
        .map_err(PoolError::database(failed()))?
        .unwrap_or_else(|| Marker::new(MarkerKind::Test, "kept"))
        .with_note(KEPT_UNTIL, kept_seconds(until).to_string());
    database
        .remark(admin, &marker)
        .await
        .map_err(PoolError::database(failed()))
}

/// Where a server is, without user and password.
fn place(server: &Database) -> String {
    let options = server.connect_options();
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// Quotes an argument for a shell, if it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
