//! Processes that are killed at any moment.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use upgrade_core::configuration::{ConfigFiles, Configuration, Digest};

use super::support::{Place, Seen, cx, keep, seen, switch};

/// Tells a child process in which folder it works.
const CHILD: &str = "UPGRADE_CONFIGURATION_OF_CHILD";

fn files(folder: &Path) -> ConfigFiles {
    let path = |name| folder.join(name);
    ConfigFiles::new("orders", path("live"), path("store"), path("new"))
}

/// Does nothing but where a test has started it: switches there and rolls back until it is killed.
#[tokio::test]
async fn child_that_switches() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let files = files(Path::new(&folder));
    let digest = |name: &str| env::var(name).unwrap().parse::<Digest>().unwrap();
    let (old, new) = (digest("OLD"), digest("NEW"));
    println!("begins");
    loop {
        for (from, to) in [(&old, &new), (&new, &old)] {
            files
                .switch(&cx(), from, to)
                .await
                .unwrap()
                .into_result()
                .unwrap();
        }
    }
}

/// Does nothing but where a test has started it: keeps and forgets until it is killed.
#[tokio::test]
async fn child_that_keeps() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let files = files(Path::new(&folder));
    println!("begins");
    loop {
        keep(&files).await;
        files.forget(&cx()).await.unwrap();
    }
}

/// A process that has begun.
fn start(child: &str, folder: &Path, digests: &[(&str, &Digest)]) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("kills::{child}"), "--nocapture"])
        .env(CHILD, folder)
        .envs(digests.iter().map(|(name, digest)| (name, digest.as_str())))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begins = |stdout: &mut BufReader<&mut ChildStdout>| {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the child has ended");
        line.contains("begins")
    };
    let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
    while !begins(&mut stdout) {}
    drop(stdout);
    child
}

/// Kills it after a time that differs from round to round.
fn kill(mut child: Child, round: u64) {
    // A multiple of the golden ratio: the moments are spread evenly, in every number of rounds.
    let share = (round as f64 * 0.618_033_988_75).fract();
    std::thread::sleep(Duration::from_secs_f64(share * 0.08));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "it has ended before: {status}");
}

type Set = BTreeMap<PathBuf, Seen>;

/// Kills a process that switches, over and over. Afterwards one of both sets is live, and the next switch
/// reaches the other one, or the same. Answers with how often it was killed with work half done.
async fn kill_switches(place: &Place, rounds: u64) -> u64 {
    let files = place.files();
    let (from, to) = keep(&files).await;
    let old = seen(&place.live());
    assert!(switch(&files, &from, &to).await.unwrap());
    let new = seen(&place.live());
    let mut interrupted = 0;
    for round in 0..rounds {
        let digests = [("OLD", &from), ("NEW", &to)];
        let live_is = |set: &Set| seen(&place.live()) == *set;
        // What a killed one has left may be either; the child begins with the old one.
        switch(&files, &to, &from).await.unwrap();
        kill(
            start("child_that_switches", place.folder(), &digests),
            round,
        );
        assert!(live_is(&old) || live_is(&new), "round {round}: a mixture");
        interrupted += u64::from(!place.leftovers().is_empty());
        let there = [(&from, &to, &new), (&to, &from, &old)];
        let (one, other, expected) = there[usize::from(round % 2 == 1)];
        switch(&files, one, other).await.unwrap();
        assert!(live_is(expected), "round {round}");
        assert_eq!(place.leftovers(), [""; 0], "round {round}");
    }
    interrupted
}

#[tokio::test]
async fn a_folder_is_old_or_new_whenever_the_process_is_killed() {
    let place = Place::with_folders();
    for number in 0..20 {
        place.write(&format!("live/conf.d/{number}"), "old");
        place.write(&format!("new/conf.d/{number}"), "new");
    }
    let interrupted = kill_switches(&place, 240).await;
    assert!(interrupted > 24, "only {interrupted} were killed at work");
}

#[tokio::test]
async fn a_file_is_old_or_new_whenever_the_process_is_killed() {
    let place = Place::new();
    place.write("live", &"old".repeat(100_000));
    place.write("new", &"new".repeat(200_000));
    let interrupted = kill_switches(&place, 60).await;
    assert!(interrupted > 3, "only {interrupted} were killed at work");
}

#[tokio::test]
async fn what_is_kept_is_whole_whenever_the_process_is_killed() {
    let place = Place::with_folders();
    let files = place.files();
    let old = seen(&place.live());
    let expected = keep(&files).await;
    let mut interrupted = 0;
    for round in 0..100 {
        kill(start("child_that_keeps", place.folder(), &[]), round);
        assert_eq!(seen(&place.live()), old, "round {round}");
        interrupted += u64::from(!place.leftovers().is_empty());
        assert_eq!(keep(&files).await, expected, "round {round}");
        assert_eq!(place.leftovers(), [""; 0], "round {round}");
    }
    assert!(interrupted > 10, "only {interrupted} were killed at work");
    let (from, to) = expected;
    assert!(switch(&files, &from, &to).await.unwrap());
    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&place.live()), old);
}
