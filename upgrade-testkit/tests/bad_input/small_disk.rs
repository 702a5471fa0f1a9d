//! A disk that is full, at each moment at which much is written.
//!
//! The small file systems are mounted by the test, which takes root; elsewhere these tests are
//! counted as ignored and run with `--include-ignored`.

use std::path::{Path, PathBuf};
use std::process::Command;

use upgrade_core::ErrorKind;
use upgrade_core::postgres::server::Directories;
use upgrade_testkit::Rehearsal;

use crate::support::{Place, says};

/// A file system in memory, with room for a given number of megabytes.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, megabytes: u32) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={megabytes}m,mode=755"))
            .arg("tmpfs")
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success(), "mount failed: are you root?");
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever removes the folder.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

const BIG: &str = "create table big (id bigint primary key, filler text);
    insert into big select n, repeat(md5(n::text), 40) from generate_series(1, 60000) n;";

fn rehearsal(place: &Place, first: &str, directories: Directories) -> Rehearsal {
    place
        .rehearsal(&[
            ("0001_big.sql", first),
            ("0002_more.sql", "create table more (id bigint)"),
        ])
        .from("0001")
        .seed_with(|seeder| seeder.skip("public.big"))
        .pool(place.pool_in(directories))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs root to mount a small file system"]
async fn a_cache_without_room_for_a_data_directory_is_named() {
    let place = Place::new();
    let directories = Directories::below(place.path());
    let _small = Small::mount(directories.cache.clone(), 10);
    let rehearsal = rehearsal(&place, "create table big (id bigint)", directories.clone());
    let error = rehearsal.rehearse().await.unwrap_err();
    let cache = directories.cache.display().to_string();
    says(
        &error,
        ErrorKind::Io,
        &["disk full", &cache, "free space", "No space left on device"],
    );
    place.is_clean();
    let size: u64 = files_below(&directories.cache)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(size < 1 << 20, "{size} bytes fill the cache");
}

#[tokio::test]
#[ignore = "needs root to mount a small file system"]
async fn no_room_for_a_server_is_named() {
    let place = Place::new();
    let directories = Directories::below(place.path());
    let _small = Small::mount(directories.disk.clone(), 10);
    let rehearsal = rehearsal(&place, "create table big (id bigint)", directories.clone());
    let error = rehearsal.rehearse().await.unwrap_err();
    let disk = directories.disk.display().to_string();
    says(&error, ErrorKind::Io, &["disk full", &disk, "free space"]);
    place.is_clean();
}

#[tokio::test]
#[ignore = "needs root to mount a small file system"]
async fn rows_that_fill_the_disk_of_the_server_end_in_its_name() {
    let place = Place::new();
    let directories = Directories::below(place.path());
    let _small = Small::mount(directories.disk.clone(), 60);
    let rehearsal = rehearsal(&place, BIG, directories.clone());
    let error = rehearsal.rehearse().await.unwrap_err();
    let disk = directories.disk.display().to_string();
    says(&error, ErrorKind::Io, &["disk full", &disk, "0001_big.sql"]);
    place.is_clean();
}

#[tokio::test]
#[ignore = "needs root to mount a small file system"]
async fn a_template_that_does_not_fit_into_the_cache_is_not_left_there() {
    let place = Place::new();
    let directories = Directories::below(place.path());
    let _small = Small::mount(directories.cache.clone(), 60);
    let rehearsal = rehearsal(&place, BIG, directories.clone());
    let error = rehearsal.rehearse().await.unwrap_err();
    let cache = directories.cache.display().to_string();
    says(
        &error,
        ErrorKind::Io,
        &["disk full", &cache, "UPGRADE_CACHE_LIMIT"],
    );
    place.is_clean();
}
