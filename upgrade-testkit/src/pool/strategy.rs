//! Which way of copying a database is the fastest on this server: measured, not guessed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use upgrade_core::postgres::database::{CopyStrategy, Database, Marker, MarkerKind};

use super::error::PoolError;
use super::shared::lease_key;

/// From this size on, in bytes, copying files pays even on a server that forces them to disk.
const LARGE: i64 = 200 << 20;

/// Copies faster than this are measured twice: one hiccup must not decide.
const QUICK: Duration = Duration::from_millis(300);

/// How long a copy that is measured may wait for others to leave.
const WITHIN: Duration = Duration::from_secs(30);

/// The strategy of a template, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StrategyChoice {
    /// `server_default`, `wal_log` or `file_copy`.
    strategy: String,
    /// Why, for people.
    pub reason: String,
}

impl StrategyChoice {
    fn new(strategy: CopyStrategy, reason: impl Into<String>) -> Self {
        let strategy = match strategy {
            CopyStrategy::WalLog => "wal_log",
            CopyStrategy::FileCopy => "file_copy",
            _ => "server_default",
        };
        Self {
            strategy: strategy.to_owned(),
            reason: reason.into(),
        }
    }

    /// The strategy.
    pub fn strategy(&self) -> CopyStrategy {
        match self.strategy.as_str() {
            "wal_log" => CopyStrategy::WalLog,
            "file_copy" => CopyStrategy::FileCopy,
            _ => CopyStrategy::ServerDefault,
        }
    }
}

/// What the choice rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    major: i32,
    fsync: bool,
    /// Only a server of 18 or newer has it.
    file_copy_method: Option<String>,
    /// The size of the template, in bytes.
    bytes: i64,
    /// Only known for a server on this machine.
    file_system: Option<String>,
}

impl Facts {
    async fn read(
        admin: &mut PgConnection,
        template: &Database,
        data: Option<&Path>,
    ) -> Result<Self, PoolError> {
        let (version, fsync, file_copy_method, bytes): (i32, String, Option<String>, i64) =
            sqlx::query_as(
                "select current_setting('server_version_num')::int, current_setting('fsync'), \
                 current_setting('file_copy_method', true), pg_database_size($1)",
            )
            .bind(template.name())
            .fetch_one(admin)
            .await
            .map_err(PoolError::database("read the settings of the server"))?;
        Ok(Self {
            major: version / 10_000,
            fsync: fsync == "on",
            file_copy_method,
            bytes,
            file_system: data.and_then(file_system),
        })
    }

    fn candidates(&self) -> &'static [CopyStrategy] {
        if self.major < 15 {
            &[CopyStrategy::ServerDefault]
        } else if self.fsync && self.bytes <= LARGE {
            &[CopyStrategy::WalLog]
        } else {
            &[CopyStrategy::WalLog, CopyStrategy::FileCopy]
        }
    }

    fn text(&self) -> String {
        let fsync = if self.fsync { "on" } else { "off" };
        let mut text = format!(
            "server {}, fsync {fsync}, {} kB",
            self.major,
            self.bytes >> 10
        );
        for (name, value) in [
            ("file_copy_method", &self.file_copy_method),
            ("file system", &self.file_system),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(", {name} {value}"));
            }
        }
        text
    }
}

/// Finds the fastest strategy for a template by making copies of it.
///
/// The template must be shut. `data` is the server's data directory, if it is on this machine.
pub(super) async fn choose(
    admin: &mut PgConnection,
    template: &Database,
    data: Option<&Path>,
) -> Result<StrategyChoice, PoolError> {
    let facts = Facts::read(admin, template, data).await?;
    let candidates = facts.candidates();
    let choice = if let [only] = candidates {
        StrategyChoice::new(
            *only,
            format!("the only one to consider ({})", facts.text()),
        )
    } else {
        let mut best: Vec<(CopyStrategy, Duration)> = Vec::new();
        for &strategy in candidates {
            let mut time = measure(admin, template, strategy).await?;
            if time < QUICK {
                time = time.min(measure(admin, template, strategy).await?);
            }
            best.push((strategy, time));
        }
        best.sort_by_key(|(_, time)| *time);
        let measured: Vec<String> = best
            .iter()
            .map(|(strategy, time)| format!("{strategy:?} {:.1} ms", time.as_secs_f64() * 1e3))
            .collect();
        let (winner, _) = best[0];
        StrategyChoice::new(
            winner,
            format!("{} ({})", measured.join(" < "), facts.text()),
        )
    };
    tracing::info!(
        template = template.name(),
        strategy = choice.strategy,
        reason = choice.reason,
        "chose how to copy a template"
    );
    Ok(choice)
}

/// The time of one copy, which is dropped again.
async fn measure(
    admin: &mut PgConnection,
    template: &Database,
    strategy: CopyStrategy,
) -> Result<Duration, PoolError> {
    let failed = || format!("measure a copy of `{}`", template.name());
    let hash = blake3::hash(template.name().as_bytes()).to_hex();
    let name = format!("upgrade_test_probe{}", &hash[..16]);
    // No sweep of another process may come in between.
    sqlx::query("select pg_advisory_lock($1)")
        .bind(lease_key(&name))
        .execute(&mut *admin)
        .await
        .map_err(PoolError::database(failed()))?;
    template
        .sibling(&*name)
        .drop(admin)
        .await
        .map_err(PoolError::database(failed()))?;
    let marker = Marker::new(MarkerKind::Test, "probe");
    let start = Instant::now();
    let copy = template
        .copy(admin, &name, &marker, strategy, WITHIN)
        .await
        .map_err(PoolError::database(failed()))?;
    let time = start.elapsed();
    copy.drop(admin)
        .await
        .map_err(PoolError::database(failed()))?;
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(lease_key(&name))
        .execute(admin)
        .await
        .map_err(PoolError::database(failed()))?;
    Ok(time)
}

/// The type of the file system that holds a path, where the kernel lists it.
fn file_system(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    type_of_mount(&mounts, path)
}

fn type_of_mount(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            path.starts_with(point).then_some((point.len(), kind))
        })
        // The last of equals: it lies over the others.
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(major: i32, fsync: bool, bytes: i64) -> Facts {
        Facts {
            major,
            fsync,
            file_copy_method: None,
            bytes,
            file_system: None,
        }
    }

    #[test]
    fn copying_files_is_considered_only_where_it_can_win() {
        use CopyStrategy::{FileCopy, ServerDefault, WalLog};
        let check = |facts: Facts, expected: &[CopyStrategy]| {
            assert_eq!(facts.candidates(), expected, "{facts:?}");
        };
        check(facts(14, false, 1 << 30), &[ServerDefault]);
        check(facts(15, true, 1 << 20), &[WalLog]);
        check(facts(15, true, 1 << 30), &[WalLog, FileCopy]);
        check(facts(18, false, 1 << 20), &[WalLog, FileCopy]);
    }

    #[test]
    fn the_innermost_mount_decides() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\nx /dev devtmpfs rw 0 0\n";
        let check = |path: &str, expected: &str| {
            assert_eq!(
                type_of_mount(mounts, Path::new(path)).as_deref(),
                Some(expected)
            );
        };
        check("/dev/shm/upgrade-0/1", "tmpfs");
        check("/dev/shmoo", "devtmpfs");
        check("/home", "ext4");
    }
}
