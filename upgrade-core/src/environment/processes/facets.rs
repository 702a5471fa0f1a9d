//! What an environment of programs can do beside its database: replace them, keep states, run systems side by
//! side.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rustix::process::Signal;

use super::set::{Mix, ProgramSet};
use super::{DATABASE, Live, ProcessEnvironment};
use crate::context::UpgradeContext;
use crate::endpoint::Endpoints;
use crate::environment::{
    EMPTY, Environment as _, Instances, Services, SideBySide, Snapshots, Usage,
};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::outcome::Outcome;
use crate::side::Side;

impl ProcessEnvironment {
    async fn become_mix(&self, cx: &UpgradeContext, mix: &Mix) -> Result<Outcome> {
        knows(cx, &mix.old)?;
        let mut live = self.live.lock().await;
        let live = live.as_mut().ok_or_else(|| self.not_prepared())?;
        cx.bounded("replace the programs", live.set.become_mix(cx, mix))
            .await?
    }
}

/// Refuses a release that is neither of those of the upgrade.
fn knows(cx: &UpgradeContext, release: &Version) -> Result<()> {
    if [cx.from(), cx.to()].contains(&release) {
        return Ok(());
    }
    let message = format!("no program is known at release `{release}`");
    Err(Error::new(ErrorKind::NotFound, message).with_hint(format!(
        "the releases are {} and {}",
        cx.from(),
        cx.to()
    )))
}

#[async_trait]
impl Services for ProcessEnvironment {
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        self.become_mix(cx, &Mix::of(to)).await
    }

    async fn restart(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        knows(cx, to)?;
        if let Some(live) = &mut *self.live.lock().await {
            live.set.stop().await;
        }
        self.become_mix(cx, &Mix::of(to)).await
    }

    async fn running(&self, _: &UpgradeContext) -> Result<BTreeMap<String, Option<Version>>> {
        let live = self.live.lock().await;
        let live = live.as_ref().ok_or_else(|| self.not_prepared())?;
        Ok(live.set.releases())
    }

    fn instances(&self) -> Option<&dyn Instances> {
        Some(self)
    }
}

#[async_trait]
impl Instances for ProcessEnvironment {
    fn count(&self) -> u32 {
        self.programs.iter().map(|program| program.instances).sum()
    }

    async fn replace_first(&self, cx: &UpgradeContext, count: u32) -> Result<Outcome> {
        let mix = Mix {
            old: cx.from().clone(),
            new: cx.to().clone(),
            count,
        };
        self.become_mix(cx, &mix).await
    }
}

#[async_trait]
impl Snapshots for ProcessEnvironment {
    fn has_empty(&self) -> bool {
        self.database.snapshots().is_some_and(Snapshots::has_empty)
    }

    async fn take(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let live = self.live.lock().await;
        let live = live.as_ref().ok_or_else(|| self.not_prepared())?;
        // Stopped, nobody comes back while the database is copied.
        let stopped = Stopped::all(&live.set);
        self.database.take(cx, label).await?;
        drop(stopped);
        if let Some(mix) = live.set.mix() {
            self.kept(|kept| kept.insert(label.to_owned(), mix.clone()));
        }
        Ok(())
    }

    async fn restore(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        let kept = self.kept(|kept| kept.get(label).cloned());
        let mix = match kept {
            // The programs of the empty system are those of the previous release.
            None if label == EMPTY => Mix::of(cx.from()),
            None => {
                let message = format!("no state was kept as `{label}`");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            Some(mix) => mix,
        };
        let mut live = self.live.lock().await;
        let live = live.as_mut().ok_or_else(|| self.not_prepared())?;
        // What they hold in memory belongs to the state that ends here.
        live.set.stop().await;
        self.database.restore(cx, label).await?;
        let started = live.set.become_mix(cx, &mix).await?;
        match started.into_result() {
            Ok(_) => Ok(()),
            // Over a system without tables a program may have nothing to serve.
            Err(error) if label == EMPTY => {
                tracing::info!(?error, "no program runs over the empty system");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn forget(&self, cx: &UpgradeContext, label: &str) -> Result<()> {
        self.kept(|kept| kept.remove(label));
        self.database.forget(cx, label).await
    }
}

/// Programs that stand still; they go on when it is dropped.
struct Stopped<'s>(&'s ProgramSet);

impl<'s> Stopped<'s> {
    fn all(set: &'s ProgramSet) -> Self {
        set.signal(Signal::STOP);
        Self(set)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

#[async_trait]
impl SideBySide for ProcessEnvironment {
    async fn copy(&self, cx: &UpgradeContext, side: Side, label: &str) -> Result<()> {
        self.remove(cx, side).await?;
        let mut live = self.live.lock().await;
        let Live {
            programs,
            sides,
            folder,
            ..
        } = live.as_mut().ok_or_else(|| self.not_prepared())?;
        let database = self.database.beside(cx, label, side.as_str()).await?;
        let endpoint = database.endpoint();
        let endpoints = Endpoints::default().with(DATABASE, endpoint.clone());
        let url = endpoint.url().clone();
        let path = folder.path().join(side.as_str());
        let set = ProgramSet::new(programs.clone(), url, path).await?;
        sides.insert(side, (database, set));
        self.known(|known| known.sides.insert(side, endpoints));
        Ok(())
    }

    async fn start(&self, cx: &UpgradeContext, side: Side, release: &Version) -> Result<Outcome> {
        knows(cx, release)?;
        let mut live = self.live.lock().await;
        let live = live.as_mut().ok_or_else(|| self.not_prepared())?;
        let (_, set) = live.sides.get_mut(&side).ok_or_else(|| {
            let message = format!("there is no copy of the data for the {side}");
            Error::new(ErrorKind::NotFound, message).with_hint("call `copy` first")
        })?;
        let mix = Mix::of(release);
        let starting = set.become_mix(cx, &mix);
        let outcome = cx.bounded("start a side", starting).await??;
        let programs = set.endpoints();
        self.known(|known| {
            let endpoints = known.sides.remove(&side).unwrap_or_default();
            let endpoints = programs.iter().fold(endpoints, |all, (name, endpoint)| {
                all.with(name, endpoint.clone())
            });
            known.sides.insert(side, endpoints);
        });
        Ok(outcome)
    }

    fn endpoints(&self, side: Side) -> Endpoints {
        self.known(|known| known.sides.get(&side).cloned().unwrap_or_default())
    }

    async fn usage(&self, cx: &UpgradeContext, side: Side) -> Result<Usage> {
        let live = self.live.lock().await;
        let live = live.as_ref().ok_or_else(|| self.not_prepared())?;
        let Some((database, set)) = live.sides.get(&side) else {
            return Ok(Usage::default());
        };
        let (cpu, memory) = set.usage();
        let counting = self.database.counts(database);
        let (transactions, statements) = cx.bounded("count transactions", counting).await??;
        Ok(Usage {
            cpu: Some(cpu),
            memory: Some(memory),
            transactions,
            statements,
        })
    }

    async fn remove(&self, _: &UpgradeContext, side: Side) -> Result<()> {
        self.known(|known| known.sides.remove(&side));
        let mut live = self.live.lock().await;
        let Some(live) = live.as_mut() else {
            return Ok(());
        };
        if let Some((database, mut set)) = live.sides.remove(&side) {
            set.stop().await;
            self.database.drop_beside(&database).await?;
        }
        Ok(())
    }
}
