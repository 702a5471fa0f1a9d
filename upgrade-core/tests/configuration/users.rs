//! Users who are not root.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use upgrade_core::ErrorKind;
use upgrade_core::configuration::Configuration;

use super::support::{Place, assert_error, cx, is_root, keep, seen, set_mode, switch};

/// A user without rights.
const NOBODY: u32 = 65534;

/// Runs something as a user without rights, on a folder that it owns; as this user where that is not root.
fn unprivileged(work: impl AsyncFnOnce() + Send) {
    std::thread::scope(|scope| {
        // The user is that of this thread, and of those that it starts.
        let thread = scope.spawn(|| {
            if is_root() {
                let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
                rustix::thread::set_thread_groups(&[gid]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(work());
        });
        thread.join().unwrap();
    });
}

/// A place of a user without rights.
fn place_of_nobody() -> Place {
    let place = Place::with_folders();
    if is_root() {
        set_owner(place.folder(), NOBODY);
    }
    place
}

fn set_owner(path: &Path, id: u32) {
    lchown(path, Some(id), Some(id)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            set_owner(&entry.unwrap().path(), id);
        }
    }
}

#[test]
fn another_user_can_switch_its_own_files_whatever_their_modes() {
    let place = place_of_nobody();
    set_mode(&place.path("live/tls/key.pem"), 0o400);
    set_mode(&place.path("live/tls"), 0o500);
    set_mode(&place.live(), 0o555);
    unprivileged(async || {
        let files = place.files();
        let (from, to) = keep(&files).await;
        let old = seen(&place.live());
        assert!(switch(&files, &from, &to).await.unwrap());
        assert!(switch(&files, &to, &from).await.unwrap());
        assert_eq!(seen(&place.live()), old);
        assert!(switch(&files, &from, &to).await.unwrap());
        files.forget(&cx()).await.unwrap();
        assert!(!place.path("store").join(from.as_str()).exists());
        assert_eq!(place.leftovers(), [""; 0]);
    });
}

#[test]
fn owners_that_this_user_may_not_set_are_refused_before_any_change() {
    if !is_root() {
        eprintln!("not tested: only root can make files of other users");
        return;
    }
    let place = place_of_nobody();
    lchown(place.path("live/tls"), Some(4242), Some(4343)).unwrap();
    let old = seen(&place.live());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let files = place.files();
    unprivileged(async || {
        let parts = ["live/tls` cannot have its owner 4242:4343", "as root"];
        assert_error(files.keep_live(&cx()).await, ErrorKind::Refused, &parts);
    });
    fs::remove_dir_all(place.path("store")).unwrap();
    let (from, to) = runtime.block_on(keep(&files));
    unprivileged(async || {
        let parts = ["is not private to this user", "owner: 0"];
        assert_error(switch(&files, &from, &to).await, ErrorKind::Refused, &parts);
    });
    assert_eq!(seen(&place.live()), old);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let place = place_of_nobody();
    unprivileged(async || {
        let files = place.files();
        let (from, to) = keep(&files).await;
        let old = seen(&place.live());
        fs::remove_dir_all(place.path("store").join(to.as_str())).unwrap();
        set_mode(&place.path("store"), 0o500);
        let result = files.keep_new(&cx()).await;
        assert_error(result, ErrorKind::Io, &["/store/", "cannot be made"]);
        assert_error(
            switch(&files, &from, &to).await,
            ErrorKind::NotFound,
            &[to.as_str()],
        );
        assert_eq!(seen(&place.live()), old);
        set_mode(&place.path("store"), 0o700);
    });
}
