//! What both releases share: the process around an API and a worker.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

const MIGRATIONS: &str = "/migrations";

/// The page on which people place orders.
pub const PAGE: &str = include_str!("page.html");

/// Behind a proxy: how long a replica that is told to stop goes on as if it were not: its successor, which may have
/// begun to answer just now, has to be found by the proxy first.
const UNNOTICED: Duration = Duration::from_millis(1000);
/// How long it then says that it is not ready, and answers all the same, until the proxy has seen it.
const DRAINS: Duration = Duration::from_millis(800);
/// How release 2 takes jobs and does them.
pub const WORK_V2: &str = "with taken as (
        delete from outbox where id in
            (select id from outbox order by id limit 50 for update skip locked)
        returning order_id)
    insert into receipts (order_id, line)
    select id, format('%s: %s cents, %s', customer, total_cents, coalesce(channel, 'shop'))
    from taken join orders on id = order_id
    on conflict (order_id) do update set times = receipts.times + 1";

/// How long a worker without a job waits for one.
const IDLE: Duration = Duration::from_millis(50);

/// One release of the service.
#[derive(Debug)]
pub struct Release {
    /// Its name.
    pub name: &'static str,
    /// Its API.
    pub api: Router<PgPool>,
    /// The description of its API.
    pub description: &'static str,
    /// Its page.
    pub page: String,
    /// The statement that takes some jobs from the outbox and does them. It is one statement, so a
    /// job is taken and done, or neither.
    pub work: &'static str,
}

/// Does what the command line says: `migrate`, `serve` or `work`.
///
/// # Errors
/// When the database or the port cannot be had, or the command is another one.
pub async fn run(release: Release) -> Result<(), Box<dyn Error>> {
    let database = match std::env::var("DATABASE_URL") {
        Ok(url) => url.parse::<PgConnectOptions>()?,
        Err(_) => {
            let password = setting("DATABASE_PASSWORD_FILE", "/run/secrets/database-password");
            let password = std::fs::read_to_string(password)?;
            PgConnectOptions::new_without_pgpass()
                .host(&std::env::var("DATABASE_HOST")?)
                .port(setting("DATABASE_PORT", "5432").parse()?)
                .username("orders")
                .password(password.trim_end())
        }
    };
    let database = database.ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_lazy_with(database);
    match std::env::args().nth(1).as_deref() {
        Some("migrate") => migrate(&pool).await,
        Some("serve") => serve(release, pool).await,
        Some("work") => work(release.work, &pool).await,
        _ => Err("usage: orders migrate|serve|work".into()),
    }
}

/// A variable of the environment, or what it is in a container.
fn setting(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

async fn migrate(pool: &PgPool) -> Result<(), Box<dyn Error>> {
    let mut migrator = Migrator::new(Path::new(MIGRATIONS)).await?;
    // After a rollback to this release, the schema may be ahead of it.
    migrator.set_ignore_missing(true);
    Ok(migrator.run(pool).await?)
}

async fn serve(release: Release, pool: PgPool) -> Result<(), Box<dyn Error>> {
    let draining = Arc::new(AtomicBool::new(false));
    let drains = Arc::clone(&draining);
    let name = release.name;
    let app = release
        .api
        .route("/release", get(async move || name))
        .route("/", get(async move || Html(release.page)))
        .route(
            "/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], release.description)),
        )
        .route(
            "/ready",
            get(async move |State(pool): State<PgPool>| ready(&pool, &drains).await),
        )
        .with_state(pool);
    let listener = TcpListener::bind(setting("LISTEN", "0.0.0.0:8080")).await?;
    let mut stop = signal(SignalKind::terminate())?;
    let behind_proxy = setting("PROXY", "yes") == "yes";
    let stopped = async move {
        stop.recv().await;
        if behind_proxy {
            sleep(UNNOTICED).await;
            draining.store(true, Ordering::Relaxed);
            sleep(DRAINS).await;
        }
    };
    // What is under way is answered before it returns.
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

async fn ready(pool: &PgPool, draining: &AtomicBool) -> StatusCode {
    let asked = timeout(
        Duration::from_secs(1),
        sqlx::query("select 1").execute(pool),
    )
    .await;
    match asked {
        Ok(Ok(_)) if !draining.load(Ordering::Relaxed) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[expect(clippy::print_stderr, reason = "the log of a container")]
async fn work(statement: &'static str, pool: &PgPool) -> Result<(), Box<dyn Error>> {
    let mut stop = signal(SignalKind::terminate())?;
    loop {
        let done = match sqlx::query(statement).execute(pool).await {
            Ok(done) => done.rows_affected(),
            Err(error) => {
                eprintln!("jobs stay where they are for now: {error}");
                0
            }
        };
        let pause = if done == 0 { IDLE } else { Duration::ZERO };
        if timeout(pause, stop.recv()).await.is_ok() {
            return Ok(());
        }
    }
}
