//! A whole data volume turned into one of a newer major, by `pg_upgrade` in a container.

mod job;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testcontainers::bollard::errors::Error as ClientError;

use super::check::{self, Obstacle, Offer};
use super::tools::Said;
use crate::context::UpgradeContext;
use crate::docker::DockerError;
use crate::docker::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

pub(super) use job::Job;

const COMMON: &str = include_str!("common.sh");
const CHECK: &str = include_str!("check.sh");
const UPGRADE: &str = include_str!("upgrade.sh");

const OLD_DATA: &str = "/old";
const NEW_DATA: &str = "/new";

/// The way of a data volume to a newer major: `pg_upgrade` of an image that has both servers copies
/// it into another volume.
///
/// The old server is stopped first, and its volume is left as it is: to roll back, start it again.
/// What was written to the new one until then is not in it; [`compare`](super::compare()) names it.
/// The new volume is there and empty; when the upgrade fails, it is empty again. Both have the data
/// directory at their root.
///
/// Users, passwords and `pg_hba.conf` come along, checksums and locale too; what stands in
/// `postgresql.conf` does not, because a newer server may refuse it.
#[derive(Debug, Clone)]
pub struct PgUpgrade {
    image: String,
    old_volume: String,
    new_volume: String,
    major: u16,
    user: String,
}

/// What a [`PgUpgrade`] came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Upgraded {
    /// How long the old server had to be stopped for it.
    pub took: Duration,
    /// Databases whose text sorts in another way with the libraries of the new image: their
    /// indexes on text have to be made anew (`reindex database`, then `alter database .. refresh
    /// collation version`) before anybody searches in them.
    pub reindex: Vec<String>,
    /// What `pg_upgrade` printed.
    pub output: String,
}

impl PgUpgrade {
    /// From one volume into another, to this major; both servers are in the image, below
    /// `/usr/lib/postgresql`.
    pub fn new(
        image: impl Into<String>,
        old_volume: impl Into<String>,
        new_volume: impl Into<String>,
        major: u16,
    ) -> Self {
        Self {
            image: image.into(),
            old_volume: old_volume.into(),
            new_volume: new_volume.into(),
            major,
            user: "postgres".to_owned(),
        }
    }

    /// The name of the superuser that the old cluster was made with; `postgres` if not said.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// What stands in the way. It starts the old server for a moment, where nobody else reaches it,
    /// and stops it in order.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) without an engine or the image,
    /// [`NotFound`](ErrorKind::NotFound) for a volume that is not there,
    /// [`Database`](ErrorKind::Database) when the old server does not start.
    pub async fn check(&self, cx: &UpgradeContext) -> Result<Vec<Obstacle>> {
        let (succeeded, output) = self.run_script(cx, "look for obstacles", CHECK).await?;
        if !succeeded {
            let message = format!("the server of volume `{}` does not start", self.old_volume);
            return Err(Error::new(ErrorKind::Database, message).with_source(Said(output)));
        }
        Ok(self.obstacles(&output))
    }

    fn obstacles(&self, output: &str) -> Vec<Obstacle> {
        let mut facts = BTreeMap::new();
        let mut inventory = Vec::new();
        let mut offer = Offer::default();
        for line in output.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["@fact", name, value] => drop(facts.insert(name, value)),
                ["@row", kind, name] => inventory.push((kind.to_owned(), name.to_owned())),
                ["@available", name] => drop(offer.extensions.insert(name.to_owned())),
                _ => {}
            }
        }
        let fact = |name: &str| facts.get(name).copied().unwrap_or_default();
        let number = |name: &str| fact(name).parse::<u64>().unwrap_or_default();
        let Self {
            image,
            old_volume,
            new_volume,
            major,
            ..
        } = self;
        let mut obstacles = Vec::new();
        let mut found = |what: String, hint: &str| obstacles.push(Obstacle::new(what, hint));
        let old_major = fact("old_major");
        match old_major.parse() {
            Err(_) => found(
                format!("volume `{old_volume}` has no cluster at its root"),
                "name the volume that is mounted as the data directory",
            ),
            Ok(old) => {
                if let Some(Obstacle { what, hint }) = check::judge_majors(old, u32::from(*major)) {
                    found(what, &hint);
                }
                if fact("old_binaries").is_empty() {
                    found(
                        format!("image `{image}` has no server of major {old}"),
                        "use an image with both, such as that of `scripts/build-image postgres-all`",
                    );
                }
            }
        }
        if fact("new_binaries").is_empty() {
            found(
                format!("image `{image}` has no `pg_upgrade` of major {major}"),
                "use an image with both, such as that of `scripts/build-image postgres-all`",
            );
        }
        if number("new_entries") > 0 {
            found(
                format!("volume `{new_volume}` is not empty"),
                "name a new one: nothing is overwritten",
            );
        }
        if !matches!(fact("state"), "" | "shut down") {
            found(
                format!(
                    "the old cluster was not stopped in order, it is `{}`",
                    fact("state")
                ),
                "stop its server (`docker stop`), and wait until it has ended",
            );
        }
        if number("free") < number("used") {
            found(
                format!(
                    "volume `{new_volume}` has {} MB free, and the old one holds {} MB",
                    number("free") >> 20,
                    number("used") >> 20
                ),
                "make room: the old data stays beside the new",
            );
        }
        let stamped = inventory.iter().find(|(kind, _)| kind == "stamped column");
        if let Some((_, column)) = stamped
            && fact("knows_stamps").is_empty()
        {
            found(
                format!(
                    "column `{column}` and others have the option `pg_attver`, which the server of major {major} does not know"
                ),
                "take a newer release of that major, or a `LogicalCopy`",
            );
        }
        obstacles.extend(check::judge(&inventory, &offer));
        obstacles
    }

    /// Checks, upgrades, and gathers the statistics that the planner of the new server needs.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) with every obstacle; [`Database`](ErrorKind::Database) with
    /// what `pg_upgrade` said; those of [`Self::check`].
    pub async fn run(&self, cx: &UpgradeContext) -> Result<Upgraded> {
        let begun = Instant::now();
        check::refuse(&self.check(cx).await?)?;
        let (succeeded, output) = self.run_script(cx, "run pg_upgrade", UPGRADE).await?;
        if !succeeded {
            let message = format!("`pg_upgrade` to major {} failed", self.major);
            return Err(Error::new(ErrorKind::Database, message)
                .with_source(Said(output))
                .with_hint("the old volume is as it was, and the new one is empty"));
        }
        let reindex = output
            .lines()
            .filter_map(|line| line.strip_prefix("@reindex\t"));
        Ok(Upgraded {
            took: begun.elapsed(),
            reindex: reindex.map(str::to_owned).collect(),
            output: output.clone(),
        })
    }

    async fn run_script(
        &self,
        cx: &UpgradeContext,
        what: &str,
        script: &str,
    ) -> Result<(bool, String)> {
        let engine = Engine::connect().await?;
        for volume in [&self.old_volume, &self.new_volume] {
            require_volume(&engine, volume).await?;
        }
        let script = format!("{COMMON}\n{script}");
        let major = self.major.to_string();
        Job::new(&self.image, &script)
            .with_mount(&self.old_volume, OLD_DATA)
            .with_mount(&self.new_volume, NEW_DATA)
            .with_variables(&[
                ("SCRIPT", &script),
                ("OLD_DATA", OLD_DATA),
                ("NEW_DATA", NEW_DATA),
                ("NEW_MAJOR", &major),
                ("PGUSER", &self.user),
                ("INVENTORY", check::INVENTORY),
            ])
            .run(cx, what)
            .await
    }
}

/// The engine would make a volume that is not there, and nobody would remove it.
async fn require_volume(engine: &Engine, volume: &str) -> Result<()> {
    match engine.docker().inspect_volume(volume).await {
        Ok(_) => Ok(()),
        Err(ClientError::DockerResponseServerError {
            status_code: 404, ..
        }) => Err(Error::new(
            ErrorKind::NotFound,
            format!("the engine has no volume `{volume}`"),
        )
        .with_hint("name one that `docker volume ls` shows")),
        Err(source) => Err(Error::from(DockerError::Engine {
            action: "inspect",
            what: format!("volume `{volume}`"),
            source: source.into(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_become_obstacles() {
        let output = "a line of something else\n\
            @fact\told_major\t15\n@fact\tnew_entries\t0\n@fact\tnew_binaries\tyes\n\
            @fact\told_binaries\tyes\n@fact\tstate\tshut down\n\
            @fact\tused\t73400320\n@fact\tfree\t1048576\n\
            @available\tplpgsql\n@row\textension\tplpgsql\n@row\textension\tpostgis\n";
        let upgrade = PgUpgrade::new("image", "old", "new", 17);
        let said: Vec<String> = upgrade
            .obstacles(output)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "volume `new` has 1 MB free, and the old one holds 70 MB (make room: the old data stays beside the new)",
                "extension `postgis` is not there (install its package beside the newer server, or drop it)",
            ]
        );
        let nothing = upgrade.obstacles("@fact\told_major\t\n@fact\tnew_entries\t0\n");
        assert_eq!(nothing[0].what, "volume `old` has no cluster at its root");
    }
}
