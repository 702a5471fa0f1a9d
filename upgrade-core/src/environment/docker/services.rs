//! From the services of one release to those of another, all of them or the first few instances.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{DockerEnvironment, Runs};
use crate::context::UpgradeContext;
use crate::docker::Stack;
use crate::docker::staging;
use crate::environment::{Instances, Services};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::outcome::Outcome;

#[async_trait]
impl Services for DockerEnvironment {
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        let stack = self.stack_beside(to)?;
        let running = self.running()?;
        let staging = &running.staging;
        let moving = staging.move_to(&stack);
        let moved = cx.bounded("replace the services", moving).await?;
        if moved.is_ok() {
            self.state(|state| state.runs = Runs::One(to.clone()));
        }
        came_up(moved)
    }

    async fn running(&self, _: &UpgradeContext) -> Result<BTreeMap<String, Option<Version>>> {
        let now = self.state(|state| state.runs.clone());
        // Of a mixture nobody asks.
        let Runs::One(now) = now else {
            return Ok(BTreeMap::new());
        };
        let stack = self.stack(&now)?;
        let services = stack
            .services
            .keys()
            .filter(|name| *name != self.database_service());
        Ok(services
            .map(|name| (name.clone(), Some(now.clone())))
            .collect())
    }

    async fn artifacts(
        &self,
        cx: &UpgradeContext,
        release: &Version,
    ) -> Result<BTreeMap<String, String>> {
        let stack = self.stack(release)?;
        let running = self.running()?;
        let reading = running.staging.artifacts(&stack, self.database_service());
        cx.bounded("look for the images", reading).await?
    }

    fn instances(&self) -> Option<&dyn Instances> {
        (self.number_of_instances() > 0).then_some(self as _)
    }
}

#[async_trait]
impl Instances for DockerEnvironment {
    fn count(&self) -> u32 {
        self.number_of_instances()
    }

    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<Outcome> {
        let running = self.running()?;
        let staging = &running.staging;
        let (from, to) = (self.stack(cx.from())?, self.stack_beside(cx.to())?);
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let moving = staging.move_between(&from, &to, most);
        let moved = cx
            .bounded("replace the first instances of the services", moving)
            .await?;
        if moved.is_ok() {
            let runs = Runs::Both(cx.from().clone(), cx.to().clone(), most);
            self.state(|state| state.runs = runs);
        }
        came_up(moved)
    }
}

/// Containers that do not get ready are a defect of their release.
pub(super) fn came_up(result: Result<()>) -> Result<Outcome> {
    let bad = [ErrorKind::Environment, ErrorKind::Timeout];
    Outcome::judged(result.map(|()| Outcome::Done), &bad)
}

impl DockerEnvironment {
    /// The stack of a release, if the database that runs now can stay.
    pub(super) fn stack_beside(&self, version: &Version) -> Result<Stack> {
        let stack = self.stack(version)?;
        let now = self.state(|state| state.runs.clone());
        let (Runs::One(now) | Runs::Both(now, ..)) = now;
        let service = self.database_service();
        if self.stack(&now)?.services.get(service) != stack.services.get(service) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("service `{service}`, the database, is another one in release {version}"),
            )
            .with_hint(
                "its data is not migrated; rehearse an upgrade of the server separately (`postgres::major`)",
            ));
        }
        Ok(stack)
    }

    /// How many instances are replaced one by one between two of the releases, at most.
    fn number_of_instances(&self) -> u32 {
        let all: Vec<&Stack> = self.releases.values().collect();
        let pairs = all
            .iter()
            .enumerate()
            .flat_map(|(index, from)| all[index + 1..].iter().map(move |to| (*from, *to)));
        let numbers = pairs.filter_map(|(from, to)| {
            let found = staging::instances(from, to, &self.options).ok()?;
            u32::try_from(found.iter().map(|(_, number)| number).sum::<usize>()).ok()
        });
        numbers.max().unwrap_or(0)
    }
}
