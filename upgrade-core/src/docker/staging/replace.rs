//! From the services of one release to those of another.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::options::Strategy;
use super::wanted::{self, Target, Wanted};
use super::{Instance, Staging, State, aliases, networks_of};
use crate::docker::stack::Stack;
use crate::error::Result;

/// How long a container has to stop when nobody waits for its answer any more.
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

impl Staging {
    /// Makes the environment run another stack. Services that are the same stay as they are; the
    /// others go, come or are replaced in the order in which they depend on each other.
    pub(crate) async fn move_to(&self, to: &Stack) -> Result<()> {
        let mut state = self.state.lock().await;
        let images = self.provide_images(to).await?;
        let target = wanted::whole(to, &images);
        state.images = images;
        self.lay_ground(&mut state, to).await?;
        self.bring_all(&mut state, to, &target).await?;
        state.stack = to.clone();
        Ok(())
    }

    /// Makes the environment run what there is on the way from one stack to another, when the first
    /// `count` instances have been replaced.
    pub(crate) async fn move_between(&self, from: &Stack, to: &Stack, count: usize) -> Result<()> {
        let mut state = self.state.lock().await;
        let old = self.provide_images(from).await?;
        let new = self.provide_images(to).await?;
        let target = wanted::between((from, &old), (to, &new), &self.options, count)?;
        state.images = new;
        self.lay_ground(&mut state, from).await?;
        self.lay_ground(&mut state, to).await?;
        self.bring_all(&mut state, to, &target).await?;
        state.stack = to.clone();
        Ok(())
    }

    /// Starts the services but one anew, as they are: nothing of what they kept in memory or in
    /// their containers is left. `between` runs while none of them does. Those that keep nothing
    /// run on, and are replaced afterwards if they are of another release.
    pub(crate) async fn start_anew<F>(&self, stack: &Stack, but: &str, between: F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let gone: Vec<Instance> = {
            let mut state = self.state.lock().await;
            let names: Vec<String> = state.instances.keys().cloned().collect();
            let stateless = &self.options.stateless;
            let all = names.iter();
            let all = all.filter(|name| *name != but && !stateless.contains(*name));
            all.flat_map(|name| state.instances.remove(name).unwrap_or_default())
                .collect()
        };
        try_join_all(gone.iter().map(|instance| self.stop(instance, AT_ONCE))).await?;
        // What has stopped is in nobody's way.
        let remove = try_join_all(gone.iter().map(|instance| self.remove(instance)));
        let (between, removed) = tokio::join!(between, remove);
        between?;
        removed?;
        self.move_to(stack).await
    }

    /// Brings every service to what is wanted: first go those of which nothing is.
    async fn bring_all(&self, state: &mut State, order: &Stack, target: &Target) -> Result<()> {
        let deadline = self.deadline();
        let known: Vec<String> = state.instances.keys().cloned().collect();
        for name in known {
            if target.get(&name).is_none_or(Vec::is_empty) {
                for instance in state.instances.remove(&name).unwrap_or_default() {
                    self.retire(&instance, None).await?;
                }
                state.lead(&name);
            }
        }
        let ordered = order.start_order()?.into_iter().flatten();
        let others = target.keys().map(String::as_str);
        let others = others.filter(|name| !order.services.contains_key(*name));
        let names: Vec<&str> = ordered
            .chain(others)
            .filter(|name| target.contains_key(*name))
            .collect();
        for name in &names {
            self.bring(state, name, &target[*name], deadline).await?;
        }
        for name in names {
            self.until_ready(state, name, deadline).await?;
        }
        Ok(())
    }

    /// Brings a service to other containers, or into being.
    async fn bring(
        &self,
        state: &mut State,
        name: &str,
        wanted: &[Wanted],
        deadline: Instant,
    ) -> Result<()> {
        let old = state.instances(name).to_vec();
        let is_same = |(instance, wanted): (&Instance, &Wanted)| instance.is(wanted);
        if old.len() == wanted.len() && old.iter().zip(wanted).all(is_same) {
            return Ok(());
        }
        for one in wanted {
            state.ports.open(name, &one.service).await?;
        }
        if old.is_empty() {
            return self.launch_all(state, name, wanted, deadline).await;
        }
        match self.options.strategy(name) {
            Strategy::Recreate => {
                for (index, instance) in old.iter().enumerate() {
                    set(state, name, old[index + 1..].iter());
                    self.retire(instance, None).await?;
                }
                self.launch_all(state, name, wanted, deadline).await?;
                self.until_ready(state, name, deadline).await
            }
            Strategy::Rolling => self.roll(state, name, wanted, old, deadline).await,
            Strategy::BlueGreen => self.switch(state, name, wanted, &old, deadline).await,
        }
    }

    async fn launch_all(
        &self,
        state: &mut State,
        name: &str,
        wanted: &[Wanted],
        deadline: Instant,
    ) -> Result<()> {
        for one in wanted {
            self.until_met(state, &one.service, deadline).await?;
            let instance = self.launch(state, name, one, true).await?;
            let all = state.instances.entry(name.to_owned()).or_default();
            all.push(instance);
        }
        Ok(())
    }

    /// One container after the other; those that are as they should be stay.
    async fn roll(
        &self,
        state: &mut State,
        name: &str,
        wanted: &[Wanted],
        mut old: Vec<Instance>,
        deadline: Instant,
    ) -> Result<()> {
        // Where each of the wanted ones is, once it is there.
        let mut places: Vec<Option<Instance>> = wanted
            .iter()
            .map(|one| {
                let found = old.iter().position(|instance| instance.is(one));
                found.map(|index| old.remove(index))
            })
            .collect();
        loop {
            let missing = places.iter().position(Option::is_none);
            if missing.is_none() && old.is_empty() {
                return Ok(());
            }
            if let Some(index) = missing {
                let service = &wanted[index].service;
                self.until_met(state, service, deadline).await?;
            }
            // Beside the old ones, where it is asked for.
            let (first, missing) = match missing {
                Some(index) if wanted[index].service.start_first => (missing, None),
                _ => (None, missing),
            };
            if let Some(index) = first {
                let mut instance = self.launch(state, name, &wanted[index], false).await?;
                let others = places.iter().flatten().chain(&old);
                set(state, name, others.chain([&instance]));
                self.make_ready(name, &mut instance, deadline).await?;
                self.give_names(name, &mut instance, deadline).await?;
                places[index] = Some(instance);
                set(state, name, places.iter().flatten().chain(&old));
            }
            if !old.is_empty() {
                let gone = old.remove(0);
                // Nobody is led to it any more, before it is asked to stop.
                set(state, name, places.iter().flatten().chain(&old));
                self.retire(&gone, None).await?;
            }
            if let Some(index) = missing {
                let mut instance = self.launch(state, name, &wanted[index], true).await?;
                let others = places.iter().flatten().chain(&old);
                set(state, name, others.chain([&instance]));
                self.make_ready(name, &mut instance, deadline).await?;
                places[index] = Some(instance);
            }
            set(state, name, places.iter().flatten().chain(&old));
        }
    }

    /// All at once, beside the old ones.
    async fn switch(
        &self,
        state: &mut State,
        name: &str,
        wanted: &[Wanted],
        old: &[Instance],
        deadline: Instant,
    ) -> Result<()> {
        let mut new = Vec::new();
        set(state, name, old.iter());
        for one in wanted {
            self.until_met(state, &one.service, deadline).await?;
            new.push(self.launch(state, name, one, false).await?);
            state
                .instances
                .insert(name.to_owned(), [old, new.as_slice()].concat());
        }
        for instance in &mut new {
            self.make_ready(name, instance, deadline).await?;
        }
        for instance in &mut new {
            self.give_names(name, instance, deadline).await?;
        }
        set(state, name, new.iter());
        for instance in old {
            self.retire(instance, None).await?;
        }
        Ok(())
    }

    /// Has a container that is ready be found under the names of its service.
    async fn give_names(
        &self,
        name: &str,
        instance: &mut Instance,
        deadline: Instant,
    ) -> Result<()> {
        let service = &instance.service;
        for network in networks_of(service) {
            let own = self.network(&network);
            let aliases = aliases(name, service, &network);
            self.engine.leave(&instance.container, &own).await?;
            self.engine
                .join(&instance.container, &own, &aliases)
                .await?;
        }
        self.make_ready(name, instance, deadline).await
    }
}

impl Instance {
    /// Whether it is what is wanted, and was seen to be ready.
    fn is(&self, wanted: &Wanted) -> bool {
        self.was_ready && self.service == wanted.service
    }
}

/// Notes which containers a service has, and leads its ports to those that are ready.
fn set<'a>(state: &mut State, name: &str, all: impl Iterator<Item = &'a Instance>) {
    state
        .instances
        .insert(name.to_owned(), all.cloned().collect());
    state.lead(name);
}
