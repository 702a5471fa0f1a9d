//! What a switch and its rollback restore.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::fs::XattrFlags;
use tokio::time::Instant;
use upgrade_core::configuration::{ConfigFiles, Configuration};
use upgrade_core::migration::Outcome;
use upgrade_core::{ErrorKind, UpgradeContext};

use super::support::{Place, assert_error, cx, is_root, keep, seen, set_mode, switch};

#[tokio::test]
async fn a_folder_is_switched_there_and_rolled_back() {
    let place = Place::with_folders();
    let files = place.files();
    let old = seen(&place.live());
    let (from, to) = keep(&files).await;
    assert_eq!(seen(&place.live()), old, "keeping changes nothing");
    assert_eq!(keep(&files).await, (from.clone(), to.clone()));

    let outcome = files.switch(&cx(), &from, &to).await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    let new = seen(&place.live());
    assert_eq!(new[Path::new("app.conf")].content, b"new");
    assert_eq!(new[Path::new("added.conf")].content, b"added");
    assert!(!new.contains_key(Path::new("tls")));
    let outcome = files.switch(&cx(), &from, &to).await.unwrap();
    assert_eq!(outcome, Outcome::NothingToDo);
    assert_eq!(files.keep_live(&cx()).await.unwrap(), to);
    assert_eq!(
        files.keep_new(&cx()).await.unwrap(),
        to,
        "also when it is live"
    );

    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&place.live()), old);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_file_is_switched_there_and_rolled_back() {
    let place = Place::new();
    set_mode(&place.write("live", "old"), 0o640);
    place.write("new", "new");
    let files = place.files();
    let old = seen(&place.live());
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());
    assert_eq!(fs::read_to_string(place.live()).unwrap(), "new");
    assert_eq!(fs::metadata(place.live()).unwrap().mode() & 0o7777, 0o640);
    assert!(!switch(&files, &from, &to).await.unwrap());
    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&place.live()), old);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[tokio::test]
async fn modes_and_owners_are_those_of_the_live_set() {
    let place = Place::with_folders();
    let live = place.live();
    set_mode(&live.join("app.conf"), 0o4750);
    set_mode(&live.join("tls/key.pem"), 0o400);
    set_mode(&live.join("tls"), 0o2500);
    symlink("app.conf", live.join("link")).unwrap();
    symlink("nowhere", place.path("new/link")).unwrap();
    set_mode(&place.path("new/app.conf"), 0o666);
    set_mode(&place.path("new/added.conf"), 0o604);
    // Owners of others only as root.
    if is_root() {
        lchown(live.join("tls"), Some(7), Some(8)).unwrap();
        lchown(live.join("tls/key.pem"), Some(65534), Some(4242)).unwrap();
        lchown(live.join("link"), Some(11), Some(12)).unwrap();
        lchown(live.join("app.conf"), Some(5), Some(6)).unwrap();
        set_mode(&live.join("app.conf"), 0o4750);
        lchown(&live, Some(13), Some(14)).unwrap();
        set_mode(&live, 0o710);
    }
    let old = seen(&live);
    let root = old[Path::new("")].clone();
    let files = place.files();
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());

    let new = seen(&live);
    let of = |name: &str| {
        (
            new[Path::new(name)].mode & 0o7777,
            new[Path::new(name)].owner,
        )
    };
    assert_eq!(new[Path::new("")], root);
    assert_eq!(of("app.conf"), (0o4750, old[Path::new("app.conf")].owner));
    assert_eq!(of("added.conf"), (0o604, root.owner));
    assert_eq!(of("link").1, old[Path::new("link")].owner);
    assert_eq!(new[Path::new("link")].content, b"nowhere");

    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&live), old);
    files.forget(&cx()).await.unwrap();
    assert_eq!(place.leftovers(), [""; 0]);
}

/// As the kernel has it: the owner may write, user 4242 and the group may read.
fn access_list() -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &permissions.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let entries = [
        entry(1, 6, u32::MAX),
        entry(2, 4, 4242),
        entry(4, 4, u32::MAX),
        entry(16, 4, u32::MAX),
        entry(32, 0, u32::MAX),
    ];
    [&2u32.to_le_bytes()[..], &entries.concat()].concat()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[tokio::test]
async fn access_lists_and_attributes_are_kept_and_none_is_inherited() {
    let place = Place::with_folders();
    let live = place.live();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
    };
    let acl = access_list();
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    set(&live.join("app.conf"), access, &acl);
    set(&live.join("app.conf"), "user.note", b"mine");
    set(&live.join("tls"), default, &acl);
    // What is made next to the live folder, and in the store, inherits this one.
    set(place.folder(), default, &acl);
    let label = "security.selinux";
    if is_root() {
        set(&live, label, b"system_u:object_r:etc_t:s0\0");
    }
    let old = seen(&live);
    let files = place.files();
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());
    assert_eq!(attribute(&live.join("app.conf"), access).unwrap(), acl);
    assert_eq!(attribute(&live.join("added.conf"), access), None);
    let labels = [&live, &live.join("added.conf")].map(|path| attribute(path, label));
    assert_eq!(labels[0], labels[1], "new files have the label of the root");

    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&live), old);
    assert_eq!(attribute(&live.join("app.conf"), access).unwrap(), acl);
    assert_eq!(
        attribute(&live.join("app.conf"), "user.note").unwrap(),
        b"mine"
    );
    assert_eq!(attribute(&live.join("tls"), default).unwrap(), acl);
    assert_eq!(attribute(&live.join("tls/key.pem"), access), None);
    assert_eq!(attribute(&live, default), None);
    assert_eq!(attribute(&live, label).is_some(), is_root());

    set(&live.join("app.conf"), "user.note", b"yours");
    assert_ne!(files.keep_live(&cx()).await.unwrap(), from);
}

#[tokio::test]
async fn a_link_to_the_live_folder_stays() {
    let place = Place::with_folders();
    fs::create_dir(place.path("etc")).unwrap();
    fs::rename(place.live(), place.path("etc/real")).unwrap();
    symlink("etc/real", place.live()).unwrap();
    let files = place.files();
    let old = seen(&place.path("etc"));
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());
    assert_eq!(fs::read_link(place.live()).unwrap(), Path::new("etc/real"));
    assert_eq!(
        fs::read_to_string(place.live().join("app.conf")).unwrap(),
        "new"
    );
    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&place.path("etc")), old);
}

#[tokio::test]
async fn hard_links_become_separate_files_and_nobody_writes_into_the_store() {
    let place = Place::with_folders();
    let one = place.path("live/app.conf");
    fs::hard_link(&one, place.path("live/same.conf")).unwrap();
    let files = place.files();
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());
    assert!(switch(&files, &to, &from).await.unwrap());
    assert_eq!(fs::metadata(&one).unwrap().nlink(), 1);
    fs::write(&one, "edited").unwrap();
    assert_eq!(
        fs::read_to_string(place.path("live/same.conf")).unwrap(),
        "old"
    );
    let kept = place.path("store").join(from.as_str());
    assert_eq!(fs::read_to_string(kept.join("app.conf")).unwrap(), "old");
    assert_eq!(
        fs::metadata(place.path("store")).unwrap().mode() & 0o7777,
        0o700
    );
}

#[tokio::test]
async fn what_is_live_is_not_forgotten() {
    let place = Place::with_folders();
    let files = place.files();
    files.forget(&cx()).await.unwrap();
    assert!(
        !place.path("store").exists(),
        "nothing is made to forget it"
    );
    let (from, to) = keep(&files).await;
    place.write("store/other", "of somebody else");
    assert!(switch(&files, &from, &to).await.unwrap());
    for _ in 0..2 {
        files.forget(&cx()).await.unwrap();
        assert!(place.path("store").join(to.as_str()).exists());
        assert!(!place.path("store").join(from.as_str()).exists());
    }
    assert!(place.path("store/other").exists());
    assert_error(
        switch(&files, &to, &from).await,
        ErrorKind::NotFound,
        &[from.as_str()],
    );
    assert_eq!(
        fs::read_to_string(place.path("live/app.conf")).unwrap(),
        "new"
    );
}

#[tokio::test]
async fn names_that_only_look_like_leftovers_stay() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    let others = [
        ".live.upgrade-",
        ".live.upgrade-0000000000000000",
        ".live.upgrade-notes",
        ".other.upgrade-switch",
    ];
    for other in others {
        place.write(other, "of somebody else");
    }
    assert!(switch(&files, &from, &to).await.unwrap());
    for other in others {
        assert!(place.path(other).exists(), "{other}");
    }
}

#[tokio::test]
async fn every_call_ends_at_the_deadline_and_on_cancellation() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    let old = seen(&place.live());
    // Another process has the store.
    let lock = fs::File::open(place.path("store/lock")).unwrap();
    lock.lock().unwrap();
    let soon = || cx().with_deadline(Instant::now() + Duration::from_millis(30));
    let kind = ErrorKind::Timeout;
    assert_error(files.keep_live(&soon()).await, kind, &["orders"]);
    assert_error(files.keep_new(&soon()).await, kind, &["orders"]);
    assert_error(files.switch(&soon(), &from, &to).await, kind, &["orders"]);
    assert_error(files.forget(&soon()).await, kind, &["orders"]);
    let cancelled = UpgradeContext::new("1.4", "1.5");
    cancelled.cancellation().cancel();
    let result = files.switch(&cancelled, &from, &to).await;
    assert_error(result, ErrorKind::Cancelled, &["orders"]);
    // None of them works any more once the store is free: they have no effect afterwards.
    lock.unlock().unwrap();
    assert!(!switch(&files, &to, &from).await.unwrap());
    assert_eq!(seen(&place.live()), old);
    assert!(place.path("store").join(to.as_str()).exists());
}

#[tokio::test]
async fn calls_at_the_same_time_work_one_after_another() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (files, from, to) = (files.clone(), from.clone(), to.clone());
            tokio::spawn(async move { switch(&files, &from, &to).await.unwrap() })
        })
        .collect();
    let mut switched = 0;
    for call in calls {
        switched += usize::from(call.await.unwrap());
    }
    assert_eq!(switched, 1);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[test]
fn neither_debug_nor_the_name_tells_content() {
    let files = ConfigFiles::new("orders", "/etc/a", "/etc/b", "/etc/c");
    assert_eq!(files.name(), "orders");
    let configuration: std::sync::Arc<dyn Configuration> = std::sync::Arc::new(files);
    assert!(format!("{configuration:?}").contains("/etc/a"));
}
