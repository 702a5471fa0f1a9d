//! What an operation would do, and the system that it was read from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contract::RollbackContract;
use crate::configuration::Digest;
use crate::context::UpgradeContext;
use crate::environment::{At, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{MigrationId, Version};
use crate::migration::{Checksum, Status};
use crate::observation::{Observation, Scope};
use crate::plan::Plan;
use crate::saved;
use crate::upgrade::{Upgrade, begun_and_not_ended};

/// The version of the format in which proposals are saved.
pub const FORMAT: u32 = 1;

/// A plan for a real system, with what the system was when it was made. It can be saved, shown to a
/// person, and carried out later: on the same system, as long as that has not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proposal {
    /// The version of this format.
    pub format: u32,
    /// The journal of its operation: [`Journal::id`](crate::journal::Journal::id).
    pub journal: String,
    /// When it was made, by the clock of the machine (RFC 3339, UTC).
    pub at: String,
    /// What the system was.
    pub world: World,
    /// What will be done.
    pub plan: Plan,
    /// What a rollback would do.
    pub contract: RollbackContract,
    /// The BLAKE3 hash of all the rest.
    pub hash: String,
}

impl Proposal {
    pub(super) fn new(
        journal: String,
        world: World,
        plan: Plan,
        contract: RollbackContract,
    ) -> Result<Self> {
        let mut proposal = Self {
            format: FORMAT,
            journal,
            at: Timestamp::now().to_string(),
            world,
            plan,
            contract,
            hash: String::new(),
        };
        proposal.hash = proposal.computed()?;
        Ok(proposal)
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a proposal has only string keys")
    }

    /// Reads one that was saved.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for one that was changed, that is no proposal, or that has another
    /// format.
    pub fn from_json(json: &str) -> Result<Self> {
        let proposal: Self = saved::read(json, "proposal", FORMAT, "plan again")?;
        proposal.is_whole()?;
        Ok(proposal)
    }

    fn computed(&self) -> Result<String> {
        let bare = Self {
            hash: String::new(),
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&bare).map_err(|source| {
            Error::new(ErrorKind::Internal, "a proposal is no JSON").with_source(source)
        })?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    fn is_whole(&self) -> Result<()> {
        if self.computed()? == self.hash {
            return Ok(());
        }
        let message = "the proposal was changed since it was made: its hash is another";
        Err(Error::new(ErrorKind::InvalidInput, message).with_hint("plan again"))
    }

    /// Refuses one that was changed, or that is of another operation.
    pub(super) fn is_of(&self, journal: &str) -> Result<()> {
        self.is_whole()?;
        if self.journal == journal {
            return Ok(());
        }
        let message = "the proposal was made with another journal";
        Err(Error::new(ErrorKind::Refused, message)
            .with_context("journal of the proposal", &self.journal)
            .with_context("journal at hand", journal)
            .with_hint("plan again with this journal"))
    }

    /// The rollback strategy that it prepares.
    pub fn strategy(&self) -> Option<&str> {
        self.plan.strategy()
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let World {
            applied,
            pending,
            divergent,
            services,
            ..
        } = &self.world;
        writeln!(f, "{}", self.plan)?;
        let all = pending.len() + applied.len();
        writeln!(f, "pending      {} of {all} migrations", pending.len())?;
        for id in divergent {
            writeln!(
                f,
                "divergent    {id}: the system applied another content than the one at hand"
            )?;
        }
        if let Some((live, new)) = self.world.switches() {
            writeln!(f, "config       {live:.12} -> {new:.12}")?;
        }
        for (name, running) in services {
            let running = running.as_ref().map_or("none", Version::as_str);
            writeln!(f, "service      {name}: {running} -> {}", self.plan.to)?;
        }
        writeln!(f, "{}", self.contract)?;
        write!(f, "proposal     {}", self.hash)
    }
}

/// What a system was when a plan for it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct World {
    /// The migrations of the release that are applied.
    pub applied: Vec<MigrationId>,
    /// Those that are not, with their content at hand; oldest first.
    pub pending: Vec<(MigrationId, Checksum)>,
    /// Those that were applied with another content than the one at hand.
    pub divergent: Vec<MigrationId>,
    /// The BLAKE3 hash of the schema.
    pub schema: String,
    /// The size of the data, in bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Which release each service runs; `None` for one of which no release runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Option<Version>>,
    /// The configuration that is live, and that of the new release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<(Digest, Digest)>,
    /// What each service consists of, at the release that the upgrade starts at and at the new one.
    #[serde(default)]
    pub artifacts: Artifacts,
}

/// What services consist of: by the name of each, a text that is another one for another artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifacts {
    /// At the release that the upgrade starts at: what a rollback needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<String, String>,
    /// At the release that it leads to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub to: BTreeMap<String, String>,
}

impl World {
    /// Reads it, with all migrations of an upgrade.
    pub(crate) async fn read(
        upgrade: &Upgrade,
        environment: &dyn Environment,
        cx: &UpgradeContext,
    ) -> Result<Self> {
        let (mut applied, mut pending, mut divergent) = (Vec::new(), Vec::new(), Vec::new());
        for migration in upgrade.released().iter().chain(upgrade.migrations()) {
            let id = migration.id().clone();
            match migration.status(cx).await? {
                Status::Pending => pending.push((id, migration.checksum())),
                Status::Applied => applied.push(id),
                Status::Divergent { .. } => {
                    divergent.push(id.clone());
                    applied.push(id);
                }
                Status::Dirty => return Err(begun_and_not_ended(&id)),
            }
        }
        let observation = environment.observe(cx, &At::Live, &Scope::Schema).await?;
        let configuration = match environment.configuration() {
            Some(configuration) => {
                let live = configuration.keep_live(cx).await?;
                Some((live, configuration.keep_new(cx).await?))
            }
            None => None,
        };
        let (mut running, mut artifacts) = (BTreeMap::new(), Artifacts::default());
        if let Some(services) = environment.services() {
            running = services.running(cx).await?;
            artifacts.from = services.artifacts(cx, upgrade.from()).await?;
            artifacts.to = services.artifacts(cx, upgrade.to()).await?;
        }
        Ok(Self {
            applied,
            pending,
            divergent,
            schema: schema_hash(&observation),
            bytes: environment.size(cx).await?,
            services: running,
            configuration,
            artifacts,
        })
    }

    /// Whether every service is known to run a release.
    pub(super) fn all_run(&self, release: &Version) -> bool {
        let mut services = self.services.values();
        !self.services.is_empty() && services.all(|running| running.as_ref() == Some(release))
    }

    /// The configurations between which an upgrade switches, unless they are the same.
    pub(super) fn switches(&self) -> Option<(Digest, Digest)> {
        self.configuration.clone().filter(|(live, new)| live != new)
    }

    /// Refuses a system with a service that does not run the release to which a rollback returns.
    pub(super) fn all_start_at(&self, from: &Version) -> Result<()> {
        let other = |(_, running): &(&String, &Option<Version>)| running.as_ref() != Some(from);
        let Some((name, running)) = self.services.iter().find(other) else {
            return Ok(());
        };
        let runs = match running {
            Some(release) => format!("runs release {release}"),
            None => "does not run".to_owned(),
        };
        let message = format!("service `{name}` {runs}, and the upgrade starts at release {from}");
        Err(Error::new(ErrorKind::Refused, message).with_hint(format!(
            "a rollback would start release {from}: bring the service to it, or plan from the release that runs"
        )))
    }

    /// Which migrations are pending.
    pub(super) fn pending_ids(&self) -> Vec<MigrationId> {
        self.pending.iter().map(|(id, _)| id.clone()).collect()
    }

    /// Refuses where the system is not this one any more.
    pub(crate) fn refuse_unless(&self, now: &Self) -> Result<()> {
        let mut changed = Vec::new();
        for id in &now.applied {
            if !self.applied.contains(id) {
                changed.push(format!("migration `{id}` was applied"));
            }
        }
        for (id, checksum) in &now.pending {
            match self.pending.iter().find(|(planned, _)| planned == id) {
                None if self.applied.contains(id) => {
                    changed.push(format!("migration `{id}` was reverted"));
                }
                None => changed.push(format!("migration `{id}` is new")),
                Some((_, planned)) if planned != checksum => {
                    changed.push(format!("migration `{id}` has another content"));
                }
                Some(_) => {}
            }
        }
        for (id, _) in &self.pending {
            let known = now.applied.contains(id) || now.pending.iter().any(|(one, _)| one == id);
            if !known {
                changed.push(format!("migration `{id}` is missing"));
            }
        }
        for (name, running) in &now.services {
            if self.services.get(name) != Some(running) {
                let release = running.as_ref().map_or("no release", Version::as_str);
                changed.push(format!("service `{name}` runs {release}"));
            }
        }
        let missing = |name: &&String| !now.services.contains_key(*name);
        for name in self.services.keys().filter(missing) {
            changed.push(format!("service `{name}` is missing"));
        }
        if self.configuration != now.configuration {
            changed.push("the configuration is another".to_owned());
        }
        for (release, planned, now) in [
            ("previous", &self.artifacts.from, &now.artifacts.from),
            ("new", &self.artifacts.to, &now.artifacts.to),
        ] {
            let other = |name: &&String| planned.get(*name) != now.get(*name);
            for name in planned
                .keys()
                .chain(now.keys())
                .filter(other)
                .collect::<BTreeSet<_>>()
            {
                let what =
                    format!("service `{name}` has another artifact of its {release} release");
                changed.push(what);
            }
        }
        if changed.is_empty() && self.schema != now.schema {
            changed.push("the schema is another".to_owned());
        }
        if changed.is_empty() {
            return Ok(());
        }
        let message =
            "the system is not what it was when the plan was made, and nothing was done to it";
        Err(Error::new(ErrorKind::Refused, message)
            .with_context("since then", changed.join("; "))
            .with_hint("plan again"))
    }
}

/// The BLAKE3 hash of the schema.
pub(crate) fn schema_hash(observation: &Observation) -> String {
    let mut hasher = blake3::Hasher::new();
    for (path, facts) in &observation.objects {
        for part in [path, facts] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
