//! What processes have used, as the kernel counts it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Time of processors and memory in bytes of all processes of some groups, with what their ended children have used.
/// Elsewhere than on Linux nothing is known.
pub(super) fn processes_of(groups: &BTreeSet<u32>) -> (Duration, u64) {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    let (mut used, mut pages) = (0, 0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some(stat) = Stat::read(&text).filter(|stat| groups.contains(&stat.group)) else {
            continue;
        };
        used += stat.ticks;
        pages += stat.pages;
    }
    let nanos = u128::from(used) * 1_000_000_000 / u128::from(ticks);
    let cpu = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    (cpu, pages * page)
}

/// What is read of `/proc/PID/stat`; see proc(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    pub(super) group: u32,
    ticks: u64,
    pages: u64,
}

impl Stat {
    /// That of a process; `None` where it has ended.
    pub(super) fn of(process: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name of the program, in brackets, may have anything in it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // The first field after the name is the third of all.
        let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        let count = |number: usize| u64::try_from(field(number)?).ok();
        let ticks: Option<u64> = (14..=17).map(count).sum();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            group: u32::try_from(field(5)?).ok()?,
            ticks: ticks?,
            pages: count(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_changes_nothing() {
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let text = format!("7 (a) b) S {}", numbers.join(" "));
        let stat = Stat::read(&text);
        assert_eq!(
            stat,
            Some(Stat {
                parent: 4,
                group: 5,
                ticks: 14 + 15 + 16 + 17,
                pages: 24,
            })
        );
        assert_eq!(Stat::read(""), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let groups = BTreeSet::from([group.unsigned_abs()]);
        assert!(processes_of(&groups).1 > 0);
    }
}
