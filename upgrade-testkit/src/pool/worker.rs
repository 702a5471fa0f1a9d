//! A thread with its own runtime, and the connections that belong to no test.
//!
//! Every test has its own runtime, and a connection lives and dies with the runtime that opened
//! it. What outlives a test (leases, connections for making and dropping databases) therefore
//! lives on the worker's runtime; a test sends it work and waits for the answer. Dropping a test
//! database needs no runtime for the same reason.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::PgConnection;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use upgrade_core::postgres::database::{Database, MAINTENANCE};

use super::error::PoolError;

/// Maintenance sessions of a process on its own server.
const SESSIONS_ALONE: usize = 4;

/// Those on a server that others use: what a process takes beside its tests has to be little, and
/// known before.
pub(super) const SESSIONS_SHARED: u32 = 1;

/// How many released databases may wait before they are dropped while tests still run. A drop
/// costs every test on the server a checkpoint, and every waiting database costs its size.
const WAITING_LIMIT: usize = 16;

/// What happens, when the worker ends, to released databases that still wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// Nothing: the server goes with them.
    Leave,
    /// They are dropped, for at most that long.
    Drop(Duration),
}

/// The thread. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    handle: Arc<WorkerHandle>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the jobs of a worker share.
pub(super) struct WorkerHandle {
    server: Database,
    runtime: Handle,
    idle: Mutex<Vec<PgConnection>>,
    /// How many jobs may have a maintenance session at once.
    sessions: Arc<Semaphore>,
    /// Set when the thread ends: what can be left to another process is.
    ending: AtomicBool,
    waiting: Mutex<VecDeque<Database>>,
    dropping: AtomicBool,
    /// How many background jobs are not done, and the news that one is.
    background: AtomicUsize,
    job_done: Notify,
}

impl std::fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerHandle")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts the thread for a server, which `server` names through any of its databases.
    pub(super) fn start(server: Database, at_end: AtEnd) -> Result<Self, PoolError> {
        let failed = |source: std::io::Error| PoolError::Worker {
            what: "could not be started",
            source: source.into(),
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let handle = Arc::new(WorkerHandle {
            server,
            runtime: runtime.handle().clone(),
            idle: Mutex::default(),
            sessions: Arc::new(Semaphore::new(match at_end {
                AtEnd::Leave => SESSIONS_ALONE,
                AtEnd::Drop(_) => SESSIONS_SHARED as usize,
            })),
            ending: AtomicBool::new(false),
            waiting: Mutex::default(),
            dropping: AtomicBool::new(false),
            background: AtomicUsize::new(0),
            job_done: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let (up, is_up) = mpsc::channel();
        let its_handle = Arc::clone(&handle);
        let thread = thread::Builder::new()
            .name("upgrade-pool".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    // Nobody listens only if the pool was dropped already.
                    let _ = up.send(());
                    let _ = stopped.await;
                    its_handle.ending.store(true, Ordering::Release);
                    if let AtEnd::Drop(limit) = at_end {
                        let rest = async {
                            its_handle.background_done().await;
                            its_handle.drop_waiting(0).await;
                        };
                        if tokio::time::timeout(limit, rest).await.is_err() {
                            tracing::debug!("test databases are left to the next sweep");
                        }
                    }
                    lock(&its_handle.idle).clear();
                });
            })
            .map_err(failed)?;
        // The thread either says that it is up or has panicked, which the first job then reports.
        let _ = is_up.recv();
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn handle(&self) -> &Arc<WorkerHandle> {
        &self.handle
    }

    /// Runs a job to its end, even if the caller stops waiting for it.
    pub(super) async fn run<T, F>(&self, job: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PoolError>> + Send + 'static,
    {
        match self.handle.runtime.spawn(job).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(PoolError::Worker {
                    what: "has ended",
                    source: error.to_string().into(),
                }),
            },
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            // The last handle may be dropped by a job.
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread has been printed, and a drop must not panic.
            let _ = thread.join();
        }
    }
}

impl WorkerHandle {
    /// Whether the thread is about to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// A connection to the maintenance database: an idle one, or a new one. Waits for another job
    /// that has one; a job that has one must not ask for another.
    pub(super) async fn admin(self: &Arc<Self>) -> Result<Admin, PoolError> {
        let permit = Arc::clone(&self.sessions).acquire_owned().await;
        let permit = permit.expect("nobody closes it");
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self
                .server
                .sibling(MAINTENANCE)
                .connect()
                .await
                .map_err(PoolError::database("connect to the server"))?,
        };
        Ok(Admin {
            connection: Some(connection),
            handle: Arc::clone(self),
            permit: Some(permit),
        })
    }

    /// Gives up the idle connections: their server is about to end.
    pub(super) fn forget_connections(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        // A connection belongs to the runtime that opened it.
        let _entered = self.runtime.enter();
        drop(idle);
    }

    /// The server, as any database on it.
    pub(super) fn server(&self) -> &Database {
        &self.server
    }

    /// Does a job in the background; needs no runtime of the caller.
    pub(super) fn spawn(self: &Arc<Self>, job: impl Future<Output = ()> + Send + 'static) {
        /// Counts a job, also one that panics or is never begun.
        struct Counted(Arc<WorkerHandle>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.background.fetch_sub(1, Ordering::AcqRel);
                self.0.job_done.notify_one();
            }
        }
        self.background.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(Arc::clone(self));
        drop(self.runtime.spawn(async move {
            let _counted = counted;
            job.await;
        }));
    }

    /// Waits until no background job is left.
    async fn background_done(&self) {
        while self.background.load(Ordering::Acquire) > 0 {
            self.job_done.notified().await;
        }
    }

    /// Has everything written down that the server's tests have committed, however the server
    /// ends.
    pub(super) async fn checkpoint(self: &Arc<Self>) -> Result<(), PoolError> {
        let mut admin = self.admin().await?;
        admin
            .execute("checkpoint")
            .await
            .map_err(PoolError::database("write down a database that is kept"))?;
        admin.give_back();
        Ok(())
    }

    /// As [`Self::checkpoint`], for a caller without a runtime.
    pub(super) fn checkpoint_blocking(self: &Arc<Self>, within: Duration) {
        let (handle, (done, is_done)) = (Arc::clone(self), mpsc::channel());
        self.spawn(async move {
            if let Err(error) = handle.checkpoint().await {
                tracing::warn!(%error, "a kept database may miss its last changes");
            }
            // Nobody listens any more if it took too long.
            let _ = done.send(());
        });
        let _ = is_done.recv_timeout(within);
    }

    /// Takes a database that nobody uses any more, to drop it when that disturbs least.
    pub(super) fn discard(self: &Arc<Self>, database: Database) {
        let many = {
            let mut waiting = lock(&self.waiting);
            waiting.push_back(database);
            waiting.len() > WAITING_LIMIT
        };
        if many && !self.dropping.swap(true, Ordering::AcqRel) {
            let handle = Arc::clone(self);
            self.spawn(async move {
                handle.drop_waiting(WAITING_LIMIT / 2).await;
                handle.dropping.store(false, Ordering::Release);
            });
        }
    }

    /// Drops what waits, oldest first, until only `leave` are left. What cannot be dropped is left
    /// to the sweep.
    async fn drop_waiting(self: &Arc<Self>, leave: usize) {
        loop {
            let database = {
                let mut waiting = lock(&self.waiting);
                if waiting.len() <= leave {
                    break;
                }
                waiting.pop_front()
            };
            let Some(database) = database else { break };
            // One at a time: a job of a test comes in between.
            let Ok(mut admin) = self.admin().await else {
                return;
            };
            match database.drop(&mut admin).await {
                Ok(()) => admin.give_back(),
                Err(error) => {
                    tracing::debug!(database = database.name(), %error, "a test database is left to the next sweep");
                }
            }
        }
    }
}

/// A connection of the worker; closed when dropped, unless it is given back.
pub(super) struct Admin {
    connection: Option<PgConnection>,
    handle: Arc<WorkerHandle>,
    /// Given up last, so that no two are open where one may be.
    permit: Option<OwnedSemaphorePermit>,
}

impl Admin {
    /// Keeps it for the next job. Not after an error: its state is unknown then.
    pub(super) fn give_back(mut self) {
        if self.permit.is_some() {
            lock(&self.handle.idle).extend(self.connection.take());
        }
    }

    /// Lets other jobs have a session while this one is held for long: for as long as somebody
    /// builds a template.
    pub(super) fn set_apart(&mut self) {
        self.permit = None;
    }
}

impl Deref for Admin {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("given back only by value")
    }
}

impl DerefMut for Admin {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("given back only by value")
    }
}

/// A panic of one test must not take the others' databases away.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
