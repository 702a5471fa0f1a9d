//! Nothing of the programs stays when the process of a test is killed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The processes that were started for the programs of a test process.
fn programs_of(test: u32) -> Vec<PathBuf> {
    let folder = format!("/{test}-");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let marked = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| {
            let variable = String::from_utf8_lossy(variable);
            variable
                .strip_prefix("UPGRADE_PROGRAMS=")
                .is_some_and(|path| path.contains(&folder))
        })
    });
    marked.map(|process| process.path()).collect()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}

#[test]
fn no_program_outlives_a_test_that_is_killed() {
    for kill_at in [3, 6, 9] {
        let mut test = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "orders::upgrade"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = test.id();
        // The live system has three processes, and each side has three.
        wait_for("the programs never ran", || {
            programs_of(id).len() >= kill_at
        });
        test.kill().unwrap();
        test.wait().unwrap();
        wait_for("programs outlive their test", || programs_of(id).is_empty());
    }
}
