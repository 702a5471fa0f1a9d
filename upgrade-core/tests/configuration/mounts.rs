//! File systems that are mounted for a test: full ones, read-only ones, and mounts in a configuration.

use std::env;
use std::fs;
use std::process::Command;

use upgrade_core::ErrorKind;
use upgrade_core::configuration::{ConfigFiles, Configuration};

use super::support::{assert_error, cx, is_root, keep, seen, switch};

/// Tells a child process in which folder it may mount.
const CHILD: &str = "UPGRADE_CONFIGURATION_MOUNTS";

/// What a test prints that could not run.
const NOT_TESTED: &str = "not tested: this user, or this machine, permits no mount namespaces";

/// Runs another test of this file in a mount namespace; `false` where none can be made.
fn in_namespace(test: &str) -> bool {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    let probe = unshare().arg("true").output();
    if !is_root() || !probe.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = unshare()
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("mounts::{test}"), "--nocapture"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn mount(arguments: &[&str], target: &std::path::Path) {
    let status = Command::new("mount").args(arguments).arg(target).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

fn files(folder: &std::path::Path) -> ConfigFiles {
    let path = |name| folder.join(name);
    ConfigFiles::new("orders", path("live"), path("store"), path("new"))
}

fn write_both(folder: &std::path::Path, length: usize) {
    for name in ["live", "new"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("app.conf"), name.repeat(length)).unwrap();
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    if !in_namespace("child_on_a_full_disk") {
        eprintln!("{NOT_TESTED}");
    }
}

#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder);
    // 700 kB with both copies, and 250 kB more: there is no room for another copy.
    write_both(folder, 50_000);
    let files = files(folder);
    let (from, to) = keep(&files).await;
    let filler = folder.join("filler");
    fs::write(&filler, vec![0; 250_000]).unwrap();
    let old = seen(&folder.join("live"));
    let error = files.switch(&cx(), &from, &to).await;
    assert_error(
        error,
        ErrorKind::Io,
        &["cannot be written", "No space left"],
    );
    assert_eq!(seen(&folder.join("live")), old);
    let names = fs::read_dir(folder).unwrap().count();
    assert_eq!(names, 4, "nothing of the copy is there");
    fs::remove_file(filler).unwrap();
    assert!(switch(&files, &from, &to).await.unwrap());
}

#[test]
fn a_read_only_store_changes_nothing() {
    if !in_namespace("child_with_a_read_only_store") {
        eprintln!("{NOT_TESTED}");
    }
}

#[tokio::test]
async fn child_with_a_read_only_store() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    write_both(folder, 1);
    let files = files(folder);
    let (from, to) = keep(&files).await;
    let (old, store) = (seen(&folder.join("live")), folder.join("store"));
    mount(&["--bind", store.to_str().unwrap()], &store);
    mount(&["-o", "remount,bind,ro"], &store);
    let parts = &["/store/lock` cannot be locked", "Read-only"];
    assert_error(files.keep_live(&cx()).await, ErrorKind::Io, parts);
    assert_error(files.switch(&cx(), &from, &to).await, ErrorKind::Io, parts);
    assert_eq!(seen(&folder.join("live")), old);
}

#[test]
fn what_is_mounted_in_a_configuration_is_neither_switched_nor_removed() {
    if !in_namespace("child_with_mounts_inside") {
        eprintln!("{NOT_TESTED}");
    }
}

#[tokio::test]
async fn child_with_mounts_inside() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    write_both(folder, 1);
    let files = files(folder);
    let (from, to) = keep(&files).await;
    let data = folder.join("data of others");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("app.conf"), "live").unwrap();
    let file = folder.join("live/app.conf");
    let live = folder.join("live");
    for (source, target) in [(data.join("app.conf"), &file), (data.clone(), &live)] {
        mount(&["--bind", source.to_str().unwrap()], target);
        let named = format!("{}` is a mount point", target.display());
        for result in [
            files.keep_live(&cx()).await.map(drop),
            switch(&files, &from, &to).await.map(drop),
        ] {
            assert_error(result, ErrorKind::Unsupported, &[&named]);
        }
        assert!(
            Command::new("umount")
                .arg(target)
                .status()
                .unwrap()
                .success()
        );
    }
    assert_eq!(fs::read_to_string(data.join("app.conf")).unwrap(), "live");
    assert!(switch(&files, &from, &to).await.unwrap());
}
