//! What is refused, with what is live unchanged.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use upgrade_core::ErrorKind;
use upgrade_core::configuration::{ConfigFiles, Configuration, Digest};

use super::support::{Place, assert_error, cx, failure, keep, seen, set_mode, switch};

#[tokio::test]
async fn what_somebody_changed_since_is_named_and_not_overwritten() {
    type Change = fn(&Place);
    let changes: [(&str, Change); 7] = [
        ("edited `{}/app.conf`", |place| {
            place.write("live/app.conf", "password: canary-0001");
        }),
        ("added `{}/mine.conf`", |place| {
            place.write("live/mine.conf", "canary-0001");
        }),
        ("added `{}/a\\nb\\xFF`", |place| {
            let name = OsStr::from_bytes(b"a\nb\xff");
            fs::write(place.live().join(name), "canary-0001").unwrap();
        }),
        ("removed `{}/tls`", |place| {
            fs::remove_dir_all(place.path("live/tls")).unwrap()
        }),
        (
            "owner, mode or attributes changed `{}/tls/key.pem`",
            |place| {
                set_mode(&place.path("live/tls/key.pem"), 0o604);
            },
        ),
        ("edited `{}/tls`", |place| {
            fs::remove_dir_all(place.path("live/tls")).unwrap();
            symlink("canary-0001", place.path("live/tls")).unwrap();
        }),
        ("owner, mode or attributes changed `{}`", |place| {
            set_mode(&place.live(), 0o701)
        }),
    ];
    for (expected, change) in changes {
        let place = Place::with_folders();
        let files = place.files();
        let (from, to) = keep(&files).await;
        change(&place);
        let live = place.live().canonicalize().unwrap();
        let expected = expected.replace("{}", &live.display().to_string());
        let edited = seen(&live);
        let failure = failure(files.switch(&cx(), &from, &to).await.unwrap());
        assert_eq!(failure.kind, ErrorKind::Refused);
        let text = format!("{failure:#}");
        assert!(
            text.contains(&format!("as it was kept: {expected} (")),
            "{text}"
        );
        assert!(!text.contains("canary-0001"), "{text}");
        assert_eq!(seen(&live), edited);
        assert_eq!(place.leftovers(), [""; 0]);
    }
}

#[tokio::test]
async fn an_edit_after_the_switch_is_told_from_the_new_set() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    assert!(switch(&files, &from, &to).await.unwrap());
    fs::write(place.path("live/added.conf"), "edited").unwrap();
    // Also by the call of the upgrade, which does not know that the switch was done.
    for (one, other) in [(&from, &to), (&to, &from)] {
        let text = failure(files.switch(&cx(), one, other).await.unwrap()).to_string();
        assert!(
            text.contains(": edited `") && text.contains("added.conf` ("),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_damaged_copy_is_refused_and_one_of_what_is_live_made_anew() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |set| fs::write(set.join("app.conf"), "damaged canary-0001").unwrap(),
        |set| fs::remove_file(set.join("app.conf")).unwrap(),
        |set| set_mode(&set.join("app.conf"), 0o666),
    ];
    for damage in damages {
        let place = Place::with_folders();
        let files = place.files();
        let (from, to) = keep(&files).await;
        let set = |digest: &Digest| place.path("store").join(digest.as_str());
        let old = seen(&place.live());

        let intact = seen(&set(&to));
        damage(&set(&to));
        let result = switch(&files, &from, &to).await;
        let path = set(&to).canonicalize().unwrap();
        let path = path.to_str().unwrap();
        assert_error(result, ErrorKind::InvalidInput, &[path, "is damaged"]);
        assert_eq!(seen(&place.live()), old);
        assert_eq!(files.keep_new(&cx()).await.unwrap(), to);
        assert_eq!(seen(&set(&to)), intact);

        // A rollback to it has to be possible.
        damage(&set(&from));
        assert!(switch(&files, &from, &to).await.unwrap());
        assert!(switch(&files, &to, &from).await.unwrap());
        assert_eq!(seen(&place.live()), old);

        damage(&set(&from));
        damage(&place.live());
        let result = switch(&files, &from, &to).await;
        if let Err(error) = &result {
            assert!(!format!("{error:?}").contains("canary"));
        }
        result.unwrap_err();
    }
}

#[tokio::test]
async fn a_digest_that_was_not_kept_is_not_found() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    let unknown: Digest = "0123456789abcdef".repeat(4).parse().unwrap();
    let kind = ErrorKind::NotFound;
    assert_error(
        switch(&files, &from, &unknown).await,
        kind,
        &[unknown.as_str()],
    );
    assert_error(
        switch(&files, &unknown, &to).await,
        kind,
        &[unknown.as_str()],
    );
}

#[tokio::test]
async fn a_live_configuration_that_is_missing_is_told() {
    let place = Place::with_folders();
    let files = place.files();
    let (from, to) = keep(&files).await;
    fs::remove_dir_all(place.live()).unwrap();
    let kind = ErrorKind::NotFound;
    assert_error(
        files.keep_live(&cx()).await,
        kind,
        &["/live` cannot be found"],
    );
    assert_error(
        files.keep_new(&cx()).await,
        kind,
        &["/live` cannot be found"],
    );
    assert_error(files.forget(&cx()).await, kind, &["/live` cannot be found"]);
    let failure = failure(files.switch(&cx(), &from, &to).await.unwrap());
    assert_eq!(failure.kind, kind);
    assert!(place.path("store").join(from.as_str()).exists());
}

#[tokio::test]
async fn a_new_configuration_of_another_kind_or_none_is_refused() {
    let place = Place::with_folders();
    let files = place.files();
    fs::remove_dir_all(place.path("new")).unwrap();
    let result = files.keep_new(&cx()).await;
    assert_error(result, ErrorKind::NotFound, &["/new` cannot be found"]);
    place.write("new", "one file");
    let result = files.keep_new(&cx()).await;
    assert_error(
        result,
        ErrorKind::InvalidInput,
        &["/new` is a file", "/live` is a folder"],
    );
}

#[tokio::test]
async fn special_files_are_refused_with_their_path() {
    let place = Place::with_folders();
    let files = place.files();
    let path = place.path("live/special");
    let fifo = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    fifo(&path);
    let parts = &["live/special`", "neither a file nor"];
    assert_error(files.keep_live(&cx()).await, ErrorKind::InvalidInput, parts);
    fs::remove_file(&path).unwrap();
    let _socket = UnixListener::bind(&path).unwrap();
    assert_error(files.keep_live(&cx()).await, ErrorKind::InvalidInput, parts);
    fs::remove_file(&path).unwrap();
    fifo(&place.path("new/special"));
    let result = files.keep_new(&cx()).await;
    assert_error(result, ErrorKind::InvalidInput, &["new/special`"]);
    assert_eq!(place.leftovers(), [""; 0]);
}

#[tokio::test]
async fn attributes_that_no_copy_can_have_are_refused() {
    let place = Place::with_folders();
    let path = place.path("live/app.conf");
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(error) = rustix::fs::setxattr(&path, "security.ima", b"\x01x", flags) {
        eprintln!("not tested, this user may not set `security.ima`: {error}");
        return;
    }
    let result = place.files().keep_live(&cx()).await;
    assert_error(
        result,
        ErrorKind::Unsupported,
        &["app.conf", "security.ima"],
    );
}

#[tokio::test]
async fn places_that_are_not_apart_are_refused() {
    let place = Place::with_folders();
    fs::create_dir(place.path("new/live")).unwrap();
    fs::create_dir(place.path("live/new")).unwrap();
    symlink(place.live(), place.path("link")).unwrap();
    for (live, store, new) in [
        ("live", "live/store", "new"),
        ("live", "link/store", "new"),
        ("live", "live", "new"),
        ("live", "store", "live/new"),
        ("new/live", "other-store", "new"),
        ("live", "new/store", "new"),
    ] {
        let files = ConfigFiles::new("x", place.path(live), place.path(store), place.path(new));
        let result = files.keep_new(&cx()).await;
        assert_error(result, ErrorKind::InvalidInput, &["are not apart"]);
        for inside in ["live/store", "new/store"] {
            assert!(!place.path(inside).exists());
        }
    }
    let root = ConfigFiles::new("x", "/", place.path("store"), place.path("new"));
    assert_error(
        root.keep_live(&cx()).await,
        ErrorKind::InvalidInput,
        &["root folder"],
    );
}

#[tokio::test]
async fn a_store_on_another_file_system_is_refused() {
    let place = Place::with_folders();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not tested: there is no /dev/shm");
        return;
    };
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(place.live()).unwrap().dev() {
        eprintln!("not tested: /dev/shm and the folder of tests are one file system");
        return;
    }
    let store = other.path().join("store");
    let files = ConfigFiles::new("x", place.live(), &store, place.path("new"));
    let result = files.keep_live(&cx()).await;
    assert_error(result, ErrorKind::InvalidInput, &["another file system"]);
    assert!(!store.exists());
}

#[tokio::test]
async fn a_store_of_others_or_for_another_configuration_is_refused() {
    let place = Place::with_folders();
    fs::create_dir(place.path("store")).unwrap();
    set_mode(&place.path("store"), 0o750);
    let files = place.files();
    assert_error(
        files.keep_live(&cx()).await,
        ErrorKind::Refused,
        &["not private", "mode: 750"],
    );
    set_mode(&place.path("store"), 0o700);
    files.keep_live(&cx()).await.unwrap();

    let other = ConfigFiles::new("y", place.path("new"), place.path("store"), place.live());
    let result = other.keep_live(&cx()).await;
    assert_error(
        result,
        ErrorKind::Refused,
        &["is the store of", "/live`", "/new`"],
    );
    // A lock of a process that was killed before it had written it.
    fs::write(place.path("store/lock"), "/ha").unwrap();
    other.keep_live(&cx()).await.unwrap();
    assert_error(
        files.keep_live(&cx()).await,
        ErrorKind::Refused,
        &["is the store of"],
    );
}
