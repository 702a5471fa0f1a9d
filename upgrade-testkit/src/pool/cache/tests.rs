use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("cache")).unwrap();
    (folder, cache)
}

fn info() -> TemplateInfo {
    let strategy = r#"{"strategy":"wal_log","reason":"only one"}"#;
    TemplateInfo::new("15", serde_json::from_str(strategy).unwrap())
}

fn hash(c: char) -> String {
    c.to_string().repeat(64)
}

/// A template of about 64 kB that was used `seconds_ago` seconds ago.
fn put(cache: &Cache, hash: &str, seconds_ago: u64) {
    let unfinished = cache.begin(hash).unwrap();
    fs::create_dir(unfinished.data()).unwrap();
    fs::write(unfinished.data().join("file"), vec![7; 64 << 10]).unwrap();
    unfinished.publish(info()).unwrap();
    let used = SystemTime::now() - Duration::from_secs(seconds_ago);
    File::options()
        .write(true)
        .open(cache.folder.join(hash).join(USED))
        .unwrap()
        .set_modified(used)
        .unwrap();
}

#[test]
fn a_folder_with_other_things_in_it_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("`thesis.tex`"), "{error}");
    assert!(!folder.path().join(TAG).exists());
    // A tag that somebody else wrote does not make it ours.
    fs::write(
        folder.path().join(TAG),
        "Signature: 8a477f597d28d172789f06886806bc55\n",
    )
    .unwrap();
    assert!(matches!(
        Cache::open(folder.path()),
        Err(PoolError::NotOurCache { .. })
    ));
}

#[test]
fn a_new_an_empty_and_an_untagged_cache_of_ours_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    Cache::open(folder.path()).unwrap();
    Cache::open(folder.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("initdb")).unwrap();
    Cache::open(other.path()).unwrap();
    assert!(other.path().join(TAG).is_file());
}

#[test]
fn the_least_recently_used_go_first_and_the_excluded_one_stays() {
    let (_folder, cache) = cache();
    for (c, ago) in [('a', 30), ('b', 300), ('c', 100), ('d', 3000)] {
        put(&cache, &hash(c), ago);
    }
    cache.touch(&hash('b'));
    let each = cache.read(&hash('a')).unwrap().bytes;
    assert!(each >= 64 << 10, "{each}");
    let removed = cache.enforce(each * 2, Some(&hash('d'))).unwrap();
    assert_eq!(removed, [hash('c'), hash('a')]);
    assert!(cache.read(&hash('b')).is_some() && cache.read(&hash('d')).is_some());
    assert_eq!(cache.enforce(0, None).unwrap(), [hash('d'), hash('b')]);
    let left: Vec<_> = fs::read_dir(&cache.folder).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_locked_stays() {
    let (_folder, cache) = cache();
    put(&cache, &hash('a'), 10);
    let lock = FileLease::try_take(&cache.lock_path(&hash('a')), Mode::Shared).unwrap();
    assert!(lock.is_some());
    assert!(cache.enforce(0, None).unwrap().is_empty());
    drop(lock);
    assert_eq!(cache.enforce(0, None).unwrap(), [hash('a')]);
}

#[test]
fn what_is_not_ours_in_the_folder_stays() {
    let (_folder, cache) = cache();
    let notes = cache.folder.join("notes");
    fs::create_dir(&notes).unwrap();
    cache.enforce(0, None).unwrap();
    assert!(notes.is_dir());
}

#[test]
fn half_a_template_is_none_and_is_removed() {
    let (_folder, cache) = cache();
    let unfinished = cache.begin(&hash('a')).unwrap();
    fs::create_dir(unfinished.data()).unwrap();
    // As a process does that is killed.
    std::mem::forget(unfinished);
    assert_eq!(cache.read(&hash('a')), None);
    let path = cache.folder.join(format!("{}.new", hash('a')));
    assert!(path.is_dir());
    assert!(cache.enforce(u64::MAX, None).unwrap().is_empty());
    assert!(!path.exists());
    drop(cache.begin(&hash('b')).unwrap());
    assert!(!cache.folder.join(format!("{}.new", hash('b'))).exists());
}

#[tokio::test]
async fn a_lock_that_is_held_ends_in_an_error_with_its_path() {
    let (_folder, cache) = cache();
    let within = Duration::from_millis(30);
    let hash = hash('a');
    let take = |mode| cache.lock(&hash, mode, within);
    let _held = take(Mode::Exclusive).await.unwrap();
    let error = take(Mode::Shared).await.unwrap_err();
    assert!(error.to_string().contains(&hash), "{error}");
}

#[test]
fn nobody_removes_a_template_between_its_build_and_its_use() {
    let (_folder, cache) = cache();
    let hash = hash('a');
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let done = AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    cache.enforce(0, None).unwrap();
                }
            });
        }
        let within = Duration::from_secs(10);
        let builds = (0..500).filter(|_| {
            let gate = runtime.block_on(cache.gate(&hash, within)).unwrap();
            let lock = runtime.block_on(cache.lock(&hash, Mode::Exclusive, within));
            let lock = lock.unwrap();
            put(&cache, &hash, 0);
            let _shared = lock.share(&gate).unwrap();
            drop(gate);
            std::thread::yield_now();
            cache.read(&hash).is_none()
        });
        let removed = builds.count();
        done.store(true, Ordering::Relaxed);
        removed
    });
    assert_eq!(removed, 0, "of 500 templates that are in use");
}
