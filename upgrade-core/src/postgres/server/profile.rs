//! What a server promises, as settings that are checked on the live server.

/// How careful a server is with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// For tests: nothing is forced to disk and the data live in memory if there is room. A killed
    /// server loses its data.
    #[default]
    ThrowAway,
    /// For crash tests: what was committed survives a server that is killed, since the operating
    /// system has it. The data live in memory if there is room.
    Killable,
    /// As an installed server: what was committed is on disk.
    Durable,
}

/// All profiles: small, alone, quiet, the same on every machine. Shared memory comes from files
/// in the data directory, so that nothing stays in `/dev/shm` after a kill.
const COMMON: [(&str, &str); 10] = [
    ("dynamic_shared_memory_type", "mmap"),
    ("huge_pages", "off"),
    ("jit", "off"),
    ("logging_collector", "off"),
    ("max_connections", "100"),
    ("max_replication_slots", "4"),
    ("max_wal_senders", "4"),
    ("shared_buffers", "16MB"),
    ("TimeZone", "UTC"),
    ("wal_level", "replica"),
];

const THROW_AWAY: [(&str, &str); 4] = [
    ("autovacuum", "off"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
];

const KILLABLE: [(&str, &str); 4] = [
    ("autovacuum", "off"),
    ("fsync", "off"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

const DURABLE: [(&str, &str); 4] = [
    ("autovacuum", "on"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

/// The names that a profile decides, which nobody else may: they are what its name promises.
pub(super) const PROMISED: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

impl Profile {
    /// The profile's name as it stands in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThrowAway => "throw-away",
            Self::Killable => "killable",
            Self::Durable => "durable",
        }
    }

    /// Settings and their values, spelled as `SHOW` prints them.
    pub(super) fn settings(self, major: u16) -> Vec<(&'static str, &'static str)> {
        let own = match self {
            Self::ThrowAway => THROW_AWAY,
            Self::Killable => KILLABLE,
            Self::Durable => DURABLE,
        };
        let mut settings: Vec<_> = COMMON.into_iter().chain(own).collect();
        // Copies of databases share their blocks where the file system can.
        if major >= 18 && cfg!(any(target_os = "linux", target_os = "macos")) {
            settings.push(("file_copy_method", "clone"));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_profiles_decide_the_same_names_and_all_that_is_promised() {
        let names = |profile: Profile| {
            let mut names: Vec<_> = profile
                .settings(18)
                .into_iter()
                .map(|pair| pair.0)
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(Profile::ThrowAway), names(Profile::Durable));
        assert_eq!(names(Profile::Killable), names(Profile::Durable));
        assert!(
            PROMISED
                .iter()
                .all(|name| names(Profile::Durable).contains(name))
        );
    }

    #[test]
    fn a_setting_of_a_later_major_is_not_given_to_an_earlier_one() {
        let has = |major| {
            Profile::ThrowAway
                .settings(major)
                .iter()
                .any(|pair| pair.0 == "file_copy_method")
        };
        assert!(!has(17));
        assert_eq!(has(18), cfg!(any(target_os = "linux", target_os = "macos")));
    }
}
