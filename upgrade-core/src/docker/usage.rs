//! What containers print and what they use.

use std::fmt;
use std::time::{Duration, SystemTime};

use testcontainers::bollard::models::{ContainerMemoryStats, ContainerStatsResponse};

/// Which lines of a log are wanted. Both bounds count where both are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogQuery {
    /// The number of lines at most, the last ones.
    pub tail: Option<usize>,
    /// Those of this time or later, to the second.
    pub since: Option<SystemTime>,
}

impl LogQuery {
    /// The whole log.
    pub fn all() -> Self {
        Self::default()
    }

    /// At most `lines` lines, the last ones.
    #[must_use]
    pub fn tail(mut self, lines: usize) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Only lines of this time or later, to the second.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }
}

/// What a container uses, and has used since it was started. A container that does not run uses
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceUse {
    /// The service.
    pub service: String,
    /// Which of its containers, counted from 1.
    pub replica: u32,
    /// Whether it runs.
    pub running: bool,
    /// The exit code of one that has ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it for using more memory than it may.
    pub out_of_memory: bool,
    /// The time of processors, over all of them.
    pub cpu: Duration,
    /// Memory in use now, in bytes, without files that the kernel could drop from its cache.
    pub memory: u64,
    /// The most memory that was in use at a time, in bytes, such files included; only control
    /// groups of version 1 tell it.
    pub memory_max: Option<u64>,
    /// How much memory it may use, in bytes, where that is bounded.
    pub memory_limit: Option<u64>,
    /// Bytes that came in from its networks.
    pub received: u64,
    /// Bytes that went out to its networks.
    pub sent: u64,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
}

impl ResourceUse {
    pub(super) fn of(service: &str, replica: u32, stats: &ContainerStatsResponse) -> Self {
        let cpu = stats
            .cpu_stats
            .as_ref()
            .and_then(|cpu| cpu.cpu_usage.as_ref());
        let cpu = cpu.and_then(|cpu| cpu.total_usage).unwrap_or_default();
        let memory = stats.memory_stats.as_ref();
        let networks = stats.networks.iter().flat_map(|all| all.values());
        let disks = stats.blkio_stats.as_ref();
        let disks = disks.and_then(|disks| disks.io_service_bytes_recursive.as_ref());
        let on_disks = |op: &str| -> u64 {
            let entries = disks.into_iter().flatten();
            let of_op = entries.filter(|entry| {
                let name = entry.op.as_deref().unwrap_or_default();
                name.eq_ignore_ascii_case(op)
            });
            of_op.filter_map(|entry| entry.value).sum()
        };
        Self {
            service: service.to_owned(),
            replica,
            running: false,
            exit_code: None,
            out_of_memory: false,
            cpu: Duration::from_nanos(cpu),
            memory: memory.map_or(0, in_use),
            memory_max: memory.and_then(|memory| memory.max_usage),
            memory_limit: None,
            received: networks.clone().filter_map(|one| one.rx_bytes).sum(),
            sent: networks.filter_map(|one| one.tx_bytes).sum(),
            read: on_disks("read"),
            written: on_disks("write"),
        }
    }
}

/// The memory that a group could not do without.
fn in_use(memory: &ContainerMemoryStats) -> u64 {
    let stat = |name| memory.stats.as_ref()?.get(name).copied();
    // Version 1 of control groups has the first name, version 2 the second.
    let dropped = stat("total_inactive_file").or_else(|| stat("inactive_file"));
    let all = memory.usage.unwrap_or_default();
    all.saturating_sub(dropped.unwrap_or_default())
}

impl fmt::Display for ResourceUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.running, self.out_of_memory, self.exit_code) {
            (true, ..) => write!(f, "runs")?,
            (false, true, _) => write!(f, "was killed: it may not use more memory")?,
            (false, false, Some(code)) => write!(f, "exited with code {code}")?,
            (false, false, None) => write!(f, "does not run")?,
        }
        if self.running {
            write!(
                f,
                ", {:.1} s of processors, {} of memory",
                self.cpu.as_secs_f64(),
                Bytes(self.memory)
            )?;
            if let Some(most) = self.memory_max {
                write!(f, ", at most {}", Bytes(most))?;
            }
        }
        if let Some(limit) = self.memory_limit {
            write!(f, " (limit {})", Bytes(limit))?;
        }
        if self.running {
            write!(
                f,
                ", network {} in and {} out, disk {} read and {} written",
                Bytes(self.received),
                Bytes(self.sent),
                Bytes(self.read),
                Bytes(self.written)
            )?;
        }
        Ok(())
    }
}

/// A number of bytes as a person reads it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..10_000 => write!(f, "{bytes} B"),
            bytes @ 10_000..10_000_000 => write!(f, "{} kB", bytes / 1_000),
            bytes => write!(f, "{} MB", bytes / 1_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an engine says, in the parts that count.
    fn stats(memory: &str) -> ContainerStatsResponse {
        let json = format!(
            r#"{{"cpu_stats":{{"cpu_usage":{{"total_usage":1500000000}}}},
            "memory_stats":{memory},
            "networks":{{"eth0":{{"rx_bytes":10,"tx_bytes":1}},"eth1":{{"rx_bytes":5,"tx_bytes":2}}}},
            "blkio_stats":{{"io_service_bytes_recursive":[{{"op":"Read","value":7}},
                {{"op":"Write","value":8}},{{"op":"read","value":1}},{{"op":"Total","value":16}}]}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let first = r#"{"usage":9000,"max_usage":9500,"stats":{"total_inactive_file":4000}}"#;
        let second = r#"{"usage":9000,"stats":{"inactive_file":3000}}"#;
        let [first, second] = [first, second].map(|text| ResourceUse::of("api", 1, &stats(text)));
        assert_eq!((first.memory, first.memory_max), (5000, Some(9500)));
        assert_eq!((second.memory, second.memory_max), (6000, None));
        assert_eq!((first.received, first.sent), (15, 3));
        assert_eq!((first.read, first.written), (8, 8));
        assert_eq!(first.cpu, Duration::from_millis(1500));
    }

    #[test]
    fn what_is_used_is_said_in_a_line() {
        let mut used = ResourceUse::of("api", 1, &stats(r#"{"usage":12000000}"#));
        used.running = true;
        used.memory_limit = Some(64_000_000);
        assert_eq!(
            used.to_string(),
            "runs, 1.5 s of processors, 12 MB of memory (limit 64 MB), network 15 B in and 3 B out, disk 8 B read and 8 B written"
        );
        used.running = false;
        used.out_of_memory = true;
        assert_eq!(
            used.to_string(),
            "was killed: it may not use more memory (limit 64 MB)"
        );
    }
}
