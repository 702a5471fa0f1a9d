//! Owners that are killed: their servers go with them, and the next sweep takes the rest.
//!
//! An owner is this test binary once more, running one test with [`OWNER`] set.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use upgrade_core::postgres::server::{Directories, LocalServer, Profile, ServerOptions, sweep};

use crate::support::{Place, binaries, eventually, open_folder, processes_below, servers_in};

/// Set for an owner: cache, memory and disk, joined with `:`.
const OWNER: &str = "UPGRADE_TEST_SERVER_OWNER";

/// A process that does not outlive the test.
struct Owner(Child);

impl Owner {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this binary again, as an owner, in the test of that name.
fn owner(test: &str, directories: &Directories) -> Owner {
    let memory = directories.memory.clone().unwrap();
    let folders = std::env::join_paths([&directories.cache, &memory, &directories.disk]).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(OWNER, folders)
        .stdout(Stdio::piped());
    Owner(command.spawn().unwrap())
}

/// Starts a server and holds it until killed, if this process is an owner.
fn be_owner_if_asked() {
    let Some(folders) = std::env::var_os(OWNER) else {
        return;
    };
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let mut directories = Directories::from_env().unwrap();
    directories.cache = folders[0].clone();
    directories.memory = Some(folders[1].clone());
    directories.disk = folders[2].clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = ServerOptions::new(Profile::ThrowAway).with_directories(directories);
    let server = runtime
        .block_on(LocalServer::start(&binaries(), options))
        .unwrap();
    println!("\nSERVER {}", server.data_dir().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_owner_takes_its_server_along_and_a_sweep_the_directory() {
    be_owner_if_asked();
    let place = Place::new();
    let mut owner = owner(
        "server_orphans::a_killed_owner_takes_its_server_along_and_a_sweep_the_directory",
        &place.directories,
    );
    let mut lines = BufReader::new(owner.0.stdout.take().unwrap()).lines();
    let data = lines
        .find_map(|line| line.unwrap().strip_prefix("SERVER ").map(PathBuf::from))
        .unwrap();
    assert!(!processes_below(&data).is_empty());
    assert_eq!(
        sweep(&place.directories).removed.len(),
        0,
        "it has an owner"
    );

    owner.kill();
    let gone = eventually("the server has ended", Duration::from_secs(5), || {
        processes_below(&data).is_empty()
    });
    assert!(data.exists());
    assert_eq!(sweep(&place.directories).removed, [data.parent().unwrap()]);
    println!("the server ended {gone:?} after its owner");
    assert_eq!(place.servers().len(), 0);
}

#[tokio::test]
async fn a_server_that_hangs_without_an_owner_is_killed_by_the_sweep() {
    let place = Place::new();
    let server = LocalServer::start(&binaries(), place.options(Profile::ThrowAway))
        .await
        .unwrap();
    let data = server.data_dir();
    // Kept for no time at all, and started by hand: nobody in this library owns it.
    let kept = server.keep(Duration::ZERO).await.unwrap();
    let before = unattached_segments();
    let mut by_hand = Owner(
        Command::new("sh")
            .args(["-c", &format!("exec {}", kept.start)])
            .spawn()
            .unwrap(),
    );
    eventually("the server runs", Duration::from_secs(20), || {
        processes_below(&data).len() > 3
    });
    // A stopped process acts on no signal but the one that cannot be ignored.
    for pid in processes_below(&data) {
        // A process that has ended since it was listed is none of those that stay.
        let _ = Command::new("kill")
            .args(["-STOP", &pid.to_string()])
            .output()
            .unwrap();
    }
    assert_eq!(sweep(&place.directories).removed, [kept.directory]);
    assert!(processes_below(&data).is_empty());
    assert!(!by_hand.0.wait().unwrap().success());
    no_segment_stays(&before);
}

#[test]
fn owners_killed_at_random_points_of_a_start_leave_nothing_after_one_sweep() {
    be_owner_if_asked();
    let name =
        "server_orphans::owners_killed_at_random_points_of_a_start_leave_nothing_after_one_sweep";
    let warm = Place::new();
    let cold_cache = open_folder(&std::env::temp_dir());
    let mut cold = Place::new();
    cold.directories.cache = cold_cache.path().to_owned();
    // The machine's template is made here if need be, not while somebody is killed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let start = |place: &Place| {
        let server = runtime
            .block_on(LocalServer::start(
                &binaries(),
                place.options(Profile::ThrowAway),
            ))
            .unwrap();
        runtime.block_on(server.stop()).unwrap();
    };
    start(&warm);
    let before = unattached_segments();

    let mut seed = 0x5eed_u64;
    let (mut with_directory, mut with_server, mut in_initdb) = (0, 0, 0);
    for round in 0..20 {
        let is_cold = round % 4 == 3;
        let place = if is_cold { &cold } else { &warm };
        let longest = if is_cold { 1_500 } else { 400 };
        let mut owner = owner(name, &place.directories);
        std::thread::sleep(Duration::from_millis(next(&mut seed) % longest)); // the random point
        owner.kill();
        let left = servers_in(&place.directories);
        with_directory += usize::from(!left.is_empty());
        with_server += usize::from(
            left.iter()
                .any(|server| server.join("data/postmaster.pid").exists()),
        );
        in_initdb += usize::from(has_unfinished(cold_cache.path()));
    }
    println!(
        "killed with a directory {with_directory}, with a server {with_server}, in initdb {in_initdb} of 20"
    );
    assert!(
        with_directory > 0,
        "no owner was killed at a point that matters"
    );

    for place in [&warm, &cold] {
        let swept = sweep(&place.directories);
        assert!(swept.failed.is_empty(), "{swept:?}");
        assert_eq!(place.servers(), Vec::<PathBuf>::new());
        let folders = [
            place.directories.memory.as_deref(),
            Some(place.directories.disk.as_path()),
        ];
        for folder in folders.into_iter().flatten() {
            assert_eq!(processes_below(folder), Vec::<u32>::new());
        }
    }
    eventually("nobody works in the cache", Duration::from_secs(5), || {
        processes_below(cold_cache.path()).is_empty()
    });
    no_segment_stays(&before);
    start(&cold);
    assert!(!has_unfinished(cold_cache.path()));
}

fn has_unfinished(cache: &Path) -> bool {
    let entries = fs::read_dir(cache.join("initdb"))
        .into_iter()
        .flatten()
        .flatten();
    entries.into_iter().any(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "new")
    })
}

/// Splitmix64: the same points in every run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers of System V shared memory segments that nobody is attached to.
fn unattached_segments() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let rows = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|fields| fields.get(6) == Some(&"0"))
        .map(|fields| fields[1].to_owned())
        .collect()
}

/// Other tests kill servers at the same time, so one that is not there for long is not ours.
fn no_segment_stays(before: &BTreeSet<String>) {
    eventually("no segment stays", Duration::from_secs(10), || {
        unattached_segments().is_subset(before)
    });
}
