//! A stack that another process has started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::follow::Followers;
use super::outside::Outside;
use super::ports::Ports;
use super::{Instance, Staging, StagingOptions, State, may_end, ready};
use crate::docker::engine::Engine;
use crate::docker::lease::Lease;
use crate::docker::stack::Stack;
use crate::error::{Error, ErrorKind, Result};

impl Staging {
    /// What another process needs to use it: its entry, and its containers by service.
    pub(crate) async fn whereabouts(&self) -> (String, BTreeMap<String, Vec<String>>) {
        let state = self.state.lock().await;
        let containers = state.instances.iter().map(|(service, instances)| {
            let names = instances.iter().map(|instance| instance.container.clone());
            (service.clone(), names.collect())
        });
        (self.prefix.clone(), containers.collect())
    }

    /// Uses a stack that runs, by ports of this process's own. `None` where a part of the stack has
    /// ended and nobody else uses it: the stack was then removed.
    pub(crate) async fn attach(
        engine: Engine,
        lease: Lease,
        prefix: &str,
        stack: &Stack,
        containers: &BTreeMap<String, Vec<String>>,
        options: StagingOptions,
    ) -> Result<Option<Self>> {
        match found(&engine, stack, containers).await {
            Ok(state) => Ok(Some(Self {
                engine,
                lease,
                prefix: prefix.to_owned(),
                options,
                outside: Outside::none(),
                followers: Followers::default(),
                state: Mutex::new(state),
            })),
            Err(error) => match lease.give_up().await? {
                true => Ok(None),
                false => Err(error),
            },
        }
    }
}

/// The containers of a stack as they are.
async fn found(
    engine: &Engine,
    stack: &Stack,
    containers: &BTreeMap<String, Vec<String>>,
) -> Result<State> {
    let mut state = State {
        stack: stack.clone(),
        ground: BTreeSet::new(),
        images: BTreeMap::new(),
        made: 0,
        instances: BTreeMap::new(),
        ports: Ports::new()?,
        faults: Vec::new(),
    };
    for (name, service) in &stack.services {
        let mut instances = Vec::new();
        let definition = Arc::new(service.clone());
        for container in containers.get(name).into_iter().flatten() {
            let found = engine.inspect(container).await?;
            let runs = found.state.as_ref().and_then(|state| state.running) == Some(true);
            if !runs && !may_end(service) {
                return Err(Error::new(
                    ErrorKind::Environment,
                    format!("container `{container}` of a shared environment has ended"),
                )
                .with_hint(format!(
                    "`docker logs {container}` may tell why; when its users have left, the next one starts a new environment"
                )));
            }
            instances.push(Instance {
                container: container.clone(),
                service: Arc::clone(&definition),
                was_ready: true,
                address: ready::address(&found).ok(),
            });
        }
        state.ports.open(name, service).await?;
        state.instances.insert(name.clone(), instances);
        state.lead(name);
    }
    Ok(state)
}
