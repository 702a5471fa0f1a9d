//! Journals in files: one writer, which may be killed at any moment, and disks that take nothing.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use upgrade_core::ErrorKind;
use upgrade_core::journal::{Actor, Entry, FileStore, Journal, verify};

const TARGET: &str = "orders on db1";

/// Tells a child process which journal to write.
const CHILD: &str = "UPGRADE_JOURNAL_OF_CHILD";

fn note(message: impl ToString) -> Entry {
    Entry::Note {
        message: message.to_string(),
    }
}

async fn open(path: &Path) -> upgrade_core::Result<Journal> {
    Journal::open(FileStore::open(path)?, TARGET, Actor::new("ann")).await
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upgrade.journal");
    (folder, path)
}

/// Does nothing but where a test has started it: writes until it is killed, and prints the number of each
/// record that it has written.
#[tokio::test]
async fn child() {
    let Some(path) = env::var_os(CHILD) else {
        return;
    };
    let journal = open(Path::new(&path)).await.unwrap();
    loop {
        let record = journal.append(None, note("goes on")).await.unwrap();
        println!("wrote {}", record.seq);
    }
}

/// A process that writes, and what it prints.
fn start(path: &Path) -> (Child, impl Iterator<Item = u64>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let written = printed.map_while(Result::ok).filter_map(|line| {
        let (_, number) = line.split_once("wrote ")?;
        number.parse().ok()
    });
    (child, written)
}

#[tokio::test]
async fn a_killed_process_has_written_all_that_it_was_told_is_written() {
    let (_folder, path) = place();
    let mut seen = None;
    for round in 0..30 {
        let (mut child, mut written) = start(&path);
        let pid = child.id();
        for _ in 0..round * 7 % 40 {
            written.next().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let last = written.last();
        let journal = open(&path).await.unwrap();
        let records = journal.records().await;
        if let Some(last) = last {
            // It was killed while it wrote: there may be more, and not less.
            assert!(
                records.iter().any(|record| record.seq == last),
                "round {round}"
            );
            assert_eq!(journal.died().unwrap().pid, pid);
        }
        let head = journal.close().await.unwrap();
        let chain = verify(&fs::read(&path).unwrap()).unwrap();
        assert!(chain.contains(&head));
        assert!(
            seen.is_none_or(|seen| chain.contains(&seen)),
            "round {round}"
        );
        seen = Some(head);
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_journal() {
    let (_folder, path) = place();
    let (mut child, mut written) = start(&path);
    written.next().unwrap();
    let error = open(&path)
        .await
        .map(|journal| journal.place())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let said = format!("{error:?}");
    for part in [
        "is in use by another process",
        "who: ann",
        &format!("process: {}", child.id()),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    open(&path).await.unwrap();
}

#[tokio::test]
async fn one_process_opens_it_once_at_a_time() {
    let (_folder, path) = place();
    let journal = open(&path).await.unwrap();
    let clone = journal.clone();
    drop(journal);
    let error = open(&path)
        .await
        .map(|journal| journal.place())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    drop(clone);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn what_is_no_file_is_refused_and_a_missing_folder_is_named() {
    let (folder, path) = place();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for other in [
        folder.path(),
        &link,
        &folder.path().join("missing/upgrade.journal"),
    ] {
        let error = FileStore::open(other).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(
            error.to_string().contains(&other.display().to_string()),
            "{error}"
        );
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_of_something_else_stays_as_it_is() {
    let (_folder, path) = place();
    fs::write(&path, "name,total\nann,3\n").unwrap();
    let error = open(&path)
        .await
        .map(|journal| journal.place())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error
            .to_string()
            .contains("line 1, is not as it was written"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "name,total\nann,3\n");
}

/// A file system of 64 KiB.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str, folder: tempfile::TempDir) -> Self {
        let small = Self(folder);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        assert!(mount.arg(small.0.path()).status().unwrap().success());
        small
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever runs this.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
#[ignore = "needs root, to mount small file systems"]
async fn small_disk_that_is_full_takes_no_record_and_goes_on_when_there_is_room() {
    let small = Small::mount("size=64k", tempfile::tempdir().unwrap());
    let path = small.0.path().join("upgrade.journal");
    let journal = open(&path).await.unwrap();
    let ballast = small.0.path().join("ballast");
    let mut size = 64 * 1024;
    while size > 0 {
        if fs::write(&ballast, vec![0; size]).is_ok() {
            break;
        }
        size -= 1024;
    }
    let error = loop {
        match journal.append(None, note("x".repeat(3000))).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Io);
    let said = format!("{error:?}");
    assert!(
        said.contains("upgrade.journal` cannot be written"),
        "{said}"
    );
    assert!(said.contains("No space left on device"), "{said}");
    let before = journal.head().await;
    // Whatever the disk took of it is cut off.
    assert_eq!(verify(&fs::read(&path).unwrap()).unwrap().head(), &before);
    fs::remove_file(&ballast).unwrap();
    journal.append(None, note("there is room")).await.unwrap();
    let head = journal.close().await.unwrap();
    assert_eq!(head.seq, before.seq + 2);
    let chain = verify(&fs::read(&path).unwrap()).unwrap();
    assert!(chain.contains(&before) && chain.contains(&head));
}

#[tokio::test]
#[ignore = "needs root, to mount small file systems"]
async fn small_disk_that_is_read_only_is_named() {
    let small = Small::mount("size=64k,ro", tempfile::tempdir().unwrap());
    let path = small.0.path().join("upgrade.journal");
    let error = FileStore::open(&path).map(drop).unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("upgrade.journal` cannot be opened"), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}
