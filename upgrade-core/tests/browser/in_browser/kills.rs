//! Nothing stays when the process of a test is killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use upgrade_core::Validator as _;
use upgrade_core::browser::Browser;

use crate::support::{options, site};

/// How many processes the test below kills; 3 if not set.
const KILLS: &str = "UPGRADE_KILLS";

/// Set in a process that is killed.
const CHILD: &str = "UPGRADE_BROWSER_TEST_CHILD";

/// How long cleaning may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes that name a folder, but those that have ended.
fn processes(folder: &Path) -> usize {
    let mark = format!("={}/", folder.display());
    let named = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&mark)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|process| {
        let path = process.path();
        named(&path.join("cmdline")) || named(&path.join("environ"))
    })
    .count()
}

/// The folders of browsers below a temporary folder.
fn folders(temp: &Path) -> usize {
    let places = fs::read_dir(temp).unwrap().flatten();
    let entries = places.flat_map(|place| fs::read_dir(place.path()).unwrap().flatten());
    entries.filter(|entry| entry.path().is_dir()).count()
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn nothing_is_left_of_a_process_that_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        return drive_until_killed().await;
    }
    let kills: u64 = std::env::var(KILLS).map_or(3, |kills| kills.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().canonicalize().unwrap();
    let (begun, mut slowest, mut driven) = (Instant::now(), Duration::ZERO, 0);
    for number in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "in_browser::kills::nothing_is_left_of_a_process_that_is_killed",
                "--exact",
                "--include-ignored",
            ])
            .env(CHILD, "1")
            .env("TMPDIR", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From its first instruction until well into its pages, in no order.
        let moment = Duration::from_millis(number * 7_919 % 5_000 + number % 2 * 1_000);
        tokio::time::sleep(moment).await; // the point of the kill
        // Its own name of the folder is one of them.
        driven += usize::from(processes(&path) > 5);
        child.kill().unwrap();
        child.wait().unwrap();
        let killed = Instant::now();
        while processes(&path) > 0 || folders(&path) > 0 {
            let left = (processes(&path), folders(&path));
            assert!(
                killed.elapsed() < PATIENCE,
                "kill {number} after {moment:?}: {left:?} are left"
            );
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
        slowest = slowest.max(killed.elapsed());
    }
    println!(
        "{kills} kills in {:.0?}, {driven} with a browser that ran: 0 processes and 0 folders left, after at most {slowest:.2?}",
        begun.elapsed()
    );
}

async fn drive_until_killed() {
    let browser = Browser::with_options(options());
    let site = site("<p>x</p><button onclick='document.body.append(1)'>b</button>").await;
    loop {
        let page = browser.page("x", "web", "/").click("button");
        page.validate(&site.context()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_browser_ends_with_its_last_handle_and_without_a_runtime() {
    let mut options = options();
    options.language = "xa-last".to_owned();
    let runs = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("--lang=xa-last")
        })
        .count()
    };
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let browser = Browser::with_options(options);
        let page = runtime.block_on(async {
            let site = site("<p>x").await;
            let page = browser.page("x", "web", "/").wait_for("p");
            assert!(page.validate(&site.context()).await.unwrap().is_pass());
            page
        });
        drop(runtime);
        drop(browser);
        page
    });
    let page = thread.join().unwrap();
    assert!(runs() > 0);
    drop(page);
    assert_eq!(runs(), 0);
}
