//! Readers that open live files while they are switched.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::support::{Place, keep, switch};

const OLD: &str = "the old release\n";
const NEW: &str = "of the new release\n";

/// Switches while readers read, which see complete files only.
fn switch_under_readers(place: &Place, names: &[&str], switches: usize) {
    let (old, new) = (OLD.repeat(5_000), NEW.repeat(4_000));
    for name in names {
        place.write(&format!("live{name}"), &old);
        place.write(&format!("new{name}"), &new);
    }
    let end = AtomicBool::new(false);
    // How often a reader has seen each.
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for name in names.iter().cycle().take(4) {
            let path = place.path(&format!("live{name}"));
            let (end, seen, old, new) = (&end, &seen, &old, &new);
            scope.spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    let text = fs::read_to_string(&path).unwrap();
                    let which = usize::from(text == *new);
                    assert!(
                        which == 1 || text == *old,
                        "a mixture of {} bytes",
                        text.len()
                    );
                    seen[which].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let switching: upgrade_core::Result<()> = runtime.block_on(async {
            let files = place.files();
            let (mut from, mut to) = keep(&files).await;
            for _ in 0..switches {
                if !switch(&files, &from, &to).await? {
                    break;
                }
                (from, to) = (to, from);
            }
            Ok(())
        });
        end.store(true, Ordering::Relaxed);
        switching.unwrap();
    });
    assert!(
        seen.iter().all(|count| count.load(Ordering::Relaxed) > 100),
        "{seen:?}"
    );
    assert_eq!(place.leftovers(), [""; 0]);
}

#[test]
fn a_reader_sees_complete_files_of_a_folder_and_never_none() {
    switch_under_readers(
        &Place::in_memory(),
        &["/app.conf", "/deep/er/app.conf"],
        1000,
    );
}

#[test]
fn a_reader_sees_a_complete_file_and_never_none() {
    switch_under_readers(&Place::in_memory(), &[""], 1000);
}
