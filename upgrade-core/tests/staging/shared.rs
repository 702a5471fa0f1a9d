//! One environment for several processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use upgrade_core::ErrorKind;
use upgrade_core::docker::{Mount, Service, Sharing, sweep};
use upgrade_core::environment::{DockerEnvironment, SharedEnvironment};

use super::support::{Fixture, api, context, database, docker, environment, get, sql_at, stack};

/// Set in a child process: the registry that it works in.
const DIR: &str = "UPGRADE_SHARED_TEST_DIR";
/// Set in a child process: how it uses the environment.
const USE: &str = "UPGRADE_SHARED_TEST_USE";

/// A server whose data lives in memory, where they are put back soonest.
fn in_memory() -> Service {
    database().with_mount(Mount::Tmpfs {
        target: "/var/lib/postgresql/data".into(),
        bytes: None,
        mode: None,
        exec: false,
    })
}

fn shop(dir: &std::path::Path) -> DockerEnvironment {
    DockerEnvironment::new("shop")
        .with_registry_dir(dir)
        .with_release("1", stack("1").with_service("db", in_memory()))
        .with_database("db")
        .with_data(async |cx| {
            let mut connection = cx.connect().await?;
            sqlx::raw_sql("create table t (id int); insert into t values (1)")
                .execute(&mut connection)
                .await?;
            Ok(())
        })
}

async fn rows(shared: &SharedEnvironment) -> String {
    sql_at(&shared.endpoints(), "select count(*)::text from t")
        .await
        .unwrap()
}

/// A process that uses the environment and does what it is told.
struct User {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl User {
    fn spawn(fixture: &Fixture, how: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "shared::processes_share_one_environment",
                "--exact",
                "--include-ignored",
                "--nocapture",
            ])
            .env(DIR, fixture.dir.path())
            .env(USE, how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            told: child.stdin.take().unwrap(),
            says: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The next thing that it says.
    fn hears(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.says.read_line(&mut line).unwrap() > 0, "it has ended");
            if let Some(said) = line.split("user: ").nth(1) {
                return said.trim().to_owned();
            }
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.told, "{word}").unwrap();
    }

    /// Asks for something and waits for the answer.
    fn ask(&mut self, word: &str) -> String {
        self.tell(word);
        self.hears()
    }

    fn kill(self) {
        drop(self);
    }

    fn leave(mut self) {
        assert_eq!(self.ask("leave"), "left");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn be_a_user(dir: &str, how: &str) {
    let cx = context();
    let sharing = match how {
        "alone" => Sharing::alone("orders"),
        _ => Sharing::together("orders"),
    };
    let environment = shop(std::path::Path::new(dir));
    let begun = Instant::now();
    let shared = environment.share(&cx, &sharing).await.unwrap();
    let started = shared.was_started_here();
    let took = match started {
        true => begun.elapsed(),
        false => shared.reset_took().unwrap_or_default(),
    };
    println!("user: started {started} took {}", took.as_millis());
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "write" => {
                let insert = "insert into t values (2)";
                sql_at(&shared.endpoints(), insert).await.unwrap();
                println!("user: rows {}", rows(&shared).await);
            }
            "read" => println!("user: rows {}", rows(&shared).await),
            _ => break,
        }
    }
    shared.leave(&cx).await.unwrap();
    println!("user: left");
}

fn millis(said: &str, before: &str) -> u64 {
    let millis = said.strip_prefix(before);
    millis.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn processes_share_one_environment() {
    if let (Ok(dir), Ok(how)) = (std::env::var(DIR), std::env::var(USE)) {
        return be_a_user(&dir, &how).await;
    }
    let fixture = Fixture::new();
    // Four at once: one starts it.
    let mut users = [(); 4].map(|()| User::spawn(&fixture, "together"));
    let mut said: Vec<String> = users.iter_mut().map(User::hears).collect();
    said.sort();
    assert_eq!(said[..3], ["started false took 0"; 3]);
    let start = millis(&said[3], "started true took ");
    let containers = fixture.left().await;
    assert_eq!(containers.len(), 3, "two containers, one network");
    let [mut one, mut two, mut three, four] = users;
    assert_eq!(one.ask("write"), "rows 2");
    assert_eq!(two.ask("read"), "rows 2", "they share it");

    // One is killed, and nobody else notices; a sweep leaves what is in use.
    four.kill();
    assert_eq!(sweep(fixture.dir.path()).await.unwrap(), []);
    assert_eq!(three.ask("read"), "rows 2");

    // Who wants it alone waits until the others have left, and finds what it began with.
    let mut alone = User::spawn(&fixture, "alone");
    one.leave();
    two.leave();
    std::thread::sleep(Duration::from_millis(300)); // time to come in, which it must not
    assert_eq!(three.ask("write"), "rows 3", "it is still shared");
    three.leave();
    let said = alone.hears();
    let reset = millis(&said, "started false took ");
    println!("start {start} ms, reset {reset} ms");
    assert!(reset > 0 && reset * 3 < start, "{reset} ms, {start} ms");
    assert_eq!(alone.ask("write"), "rows 2");
    assert_eq!(fixture.left().await, containers, "it is the same one");

    // Those who come wait; when it is killed, they find what it began with.
    let mut later = [(); 2].map(|()| User::spawn(&fixture, "together"));
    std::thread::sleep(Duration::from_millis(300)); // time to come in, which they must not
    assert_eq!(alone.ask("read"), "rows 2");
    alone.kill();
    for user in &mut later {
        // Where it was the only one left, it was over with it: then it was started anew.
        assert!(user.hears().starts_with("started "));
        assert_eq!(user.ask("read"), "rows 1");
    }
    // The last one ends it.
    let [first, last] = later;
    first.leave();
    assert_eq!(fixture.left().await.len(), 3);
    last.leave();
    assert_eq!(fixture.left().await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_killed_last_user_leaves_it_to_the_next_sweep() {
    let fixture = Fixture::new();
    let mut users = [(); 2].map(|()| User::spawn(&fixture, "together"));
    for user in &mut users {
        user.hears();
    }
    users.into_iter().for_each(User::kill);
    assert_eq!(fixture.left().await.len(), 3);
    assert_eq!(sweep(fixture.dir.path()).await.unwrap().len(), 3);
    assert_eq!(fixture.left().await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn one_that_lingers_is_found_by_who_comes_later() {
    let (fixture, cx) = (Fixture::new(), context());
    let sharing = Sharing::together("orders").lingering(Duration::from_secs(600));
    let share = async |sharing: &Sharing| {
        let environment = shop(fixture.dir.path());
        environment.share(&cx, sharing).await.unwrap()
    };
    let first = share(&sharing).await;
    assert!(first.was_started_here());
    first.leave(&cx).await.unwrap();
    let containers = fixture.left().await;
    assert_eq!(sweep(fixture.dir.path()).await.unwrap(), []);
    let second = share(&sharing).await;
    assert!(!second.was_started_here());
    assert_eq!(rows(&second).await, "1");
    drop(second);
    assert_eq!(fixture.left().await, containers);

    // One of which a part has ended is of no use.
    let api = containers.iter().find(|name| name.contains("-api-"));
    docker(&["kill", api.unwrap().trim_start_matches('/')]);
    let third = share(&Sharing::together("orders")).await;
    assert!(third.was_started_here());
    let url = third.endpoints().get("api").unwrap().url().clone();
    let answer = get(url.expose().trim_start_matches("http://"), "/").await;
    assert!(answer.unwrap().starts_with("1 "));
    // Another key is another environment.
    let other = share(&Sharing::together("invoices")).await;
    assert!(other.was_started_here());
    other.leave(&cx).await.unwrap();
    third.leave(&cx).await.unwrap();
    assert_eq!(fixture.left().await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_could_not_be_put_back_is_not_shared() {
    let (fixture, cx) = (Fixture::new(), context());
    let sharing = Sharing::alone("orders");
    let reaching = environment(&fixture).with_allowed("mail.example.com", 25);
    let error = reaching.share(&cx, &sharing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let data = Mount::Volume {
        name: Some("data".into()),
        target: "/data".into(),
        read_only: false,
    };
    let writes = stack("1")
        .with_volume("data")
        .with_service("api", api("1").with_mount(data));
    let writing = fixture.environment().with_release("1", writes);
    let error = writing.share(&cx, &sharing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("volume `data`"), "{error}");
}
