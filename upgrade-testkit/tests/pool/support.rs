//! A separate place for each test, a template to build, and this binary as another process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use upgrade_core::postgres::database::Database;
use upgrade_core::postgres::server::{
    Directories, Found, LocalServer, Profile, ProviderOptions, ServerBinaries, ServerOptions,
    ServerRequirement, discover,
};
use upgrade_core::{Result, RunId, Secret};
use upgrade_testkit::pool::{Pool, PoolError, PoolOptions, Template, TemplateKey, TestDatabase};

/// Set for another process: the folder of the place, then what the test adds.
const CHILD: &str = "UPGRADE_TEST_POOL_CHILD";

/// How many rows the template has.
pub(crate) const ROWS: i64 = 500;

/// A cache and a place for servers; the binaries and the result of `initdb` are the machine's.
pub(crate) struct Place {
    folder: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let machine = Directories::from_env().unwrap();
        let parent = machine.memory.as_deref().unwrap_or(&machine.disk);
        let owned = tempfile::Builder::new()
            .prefix("p")
            .rand_bytes(5)
            .tempdir_in(parent)
            .unwrap();
        fs::set_permissions(owned.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cache = owned.path().join("cache");
        fs::create_dir(&cache).unwrap();
        for name in ["initdb", "servers"] {
            let theirs = machine.cache.join(name);
            if theirs.is_dir() {
                symlink(theirs, cache.join(name)).unwrap();
            }
        }
        Self {
            folder: owned.path().to_owned(),
            _owned: Some(owned),
        }
    }

    pub(crate) fn directories(&self) -> Directories {
        Directories::below(&self.folder)
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.folder.join("cache/templates")
    }

    pub(crate) fn options(&self) -> PoolOptions {
        let mut provider = ProviderOptions::from_env().unwrap();
        provider.url = None;
        PoolOptions::new(provider).with_directories(self.directories())
    }

    pub(crate) async fn pool(&self) -> Pool {
        Pool::connect(self.options()).await.unwrap()
    }

    /// The directories of servers that exist now.
    pub(crate) fn servers(&self) -> Vec<PathBuf> {
        folders(&self.folder.join("run"))
            .iter()
            .flat_map(|home| folders(home))
            .collect()
    }

    /// Where builds are counted, over all processes.
    fn builds(&self) -> PathBuf {
        self.folder.join("builds")
    }

    pub(crate) fn count_builds(&self) -> usize {
        fs::read_to_string(self.builds()).map_or(0, |text| text.lines().count())
    }

    /// The template that all tests use, with another content for each number.
    pub(crate) async fn template(&self, pool: &Pool, number: u64) -> Result<Template, PoolError> {
        pool.template(&key(number), async |database| {
            self.note_build();
            fill(&database).await
        })
        .await
    }

    pub(crate) fn note_build(&self) {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.builds())
            .unwrap();
        file.write_all(b"built\n").unwrap();
    }

    /// A server of this test that others are told the URL of.
    pub(crate) async fn server(&self, settings: &[(&str, &str)]) -> LocalServer {
        let mut options =
            ServerOptions::new(Profile::ThrowAway).with_directories(self.directories());
        for (name, value) in settings {
            options = options.with_setting(*name, *value).unwrap();
        }
        LocalServer::start(&binaries(None), options).await.unwrap()
    }
}

pub(crate) fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

pub(crate) fn binaries(major: Option<u16>) -> ServerBinaries {
    let mut options = ProviderOptions::from_env().unwrap();
    options.url = None;
    let mut requirement = ServerRequirement::any();
    requirement.major = major;
    match discover(&requirement, &options).unwrap() {
        Found::Binaries(binaries) => binaries,
        other => panic!("binaries were expected, not {other:?}"),
    }
}

pub(crate) fn url(server: &LocalServer) -> Secret {
    let database = Database::new(&server.connect_options(), "postgres");
    database.endpoint().url().clone()
}

pub(crate) fn key(number: u64) -> TemplateKey {
    TemplateKey::new()
        .with_migration("0001", SCHEMA)
        .with("seed", number.to_le_bytes())
}

const SCHEMA: &str = "create table orders (id bigint primary key, note text not null)";

pub(crate) async fn fill(database: &Database) -> Result<()> {
    let mut connection = database.connect().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    sqlx::raw_sql(
        "insert into orders select n, md5(n::text) from generate_series(1, 500) n; \
         do $$ begin execute format('alter database %I set work_mem to ''3MB''', current_database()); end $$",
    )
    .execute(&mut connection)
    .await?;
    // Left open: the pool closes it.
    std::mem::forget(connection);
    Ok(())
}

/// A row count of a test database, and a setting of the database that the template's build made.
pub(crate) async fn content(database: &Database) -> (i64, String) {
    let mut connection = database.connect().await.unwrap();
    let content =
        sqlx::query_as("select count(distinct note), current_setting('work_mem') from orders")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    content
}

/// What [`content`] is in every fresh copy.
pub(crate) fn fresh() -> (i64, String) {
    (ROWS, "3MB".to_owned())
}

pub(crate) async fn run(database: &Database, sql: &str) {
    let mut connection = database.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

pub(crate) async fn names(admin: &mut PgConnection, like: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select datname::text from pg_database where datname like $1 order by datname",
    )
    .bind(like)
    .fetch_all(admin)
    .await
    .unwrap()
}

pub(crate) async fn hand_out(template: &Template) -> TestDatabase {
    template.hand_out(&RunId::generate()).await.unwrap()
}

/// Waits until something is so, for at most 20 seconds.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await; // poll
    }
}

/// Another process, which does not outlive the test.
pub(crate) struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Starts this binary again, in the test of that name, with a place and one more word.
    pub(crate) fn start(test: &str, place: &Place, word: &str) -> Self {
        let mut value = place.folder.clone().into_os_string();
        value.push("\n");
        value.push(OsStr::new(word));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, value)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The rest of the first line that begins with `SAYS `.
    pub(crate) fn says(&mut self) -> String {
        self.lines
            .by_ref()
            .map_while(std::io::Result::ok)
            .find_map(|line| line.strip_prefix("SAYS ").map(str::to_owned))
            .expect("the other process ended without a message")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn wait(&mut self) {
        for line in self.lines.by_ref() {
            drop(line);
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The place and the word, if this process is such another one.
pub(crate) fn other_process() -> Option<(Place, String)> {
    let value = std::env::var(CHILD).ok()?;
    let (folder, word) = value.split_once('\n').unwrap();
    let place = Place {
        folder: PathBuf::from(folder),
        _owned: None,
    };
    Some((place, word.to_owned()))
}

/// Tells the test that started this process.
pub(crate) fn say(word: &str) {
    println!("\nSAYS {word}");
}

/// Waits for SIGKILL.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}
