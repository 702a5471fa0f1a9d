//! What the containers of an environment print and use.

use super::{Staging, State};
use crate::docker::usage::{LogQuery, ResourceUse};
use crate::environment::LogTail;
use crate::error::{Error, ErrorKind, Result};

impl Staging {
    /// The last lines of every container, the last of them on how it is and what it has used.
    pub(crate) async fn logs(&self, lines: usize) -> Vec<LogTail> {
        let state = self.state.lock().await;
        let mut tails = Vec::new();
        for (service, replica, container) in all(&state) {
            let mut tail = self.engine.log(&container, lines).await;
            // A line that was asked for as the only one is one of the log.
            if lines > 1
                && let Ok(used) = self.used(&state, &service, replica, &container).await
            {
                tail.drain(..(tail.len() + 1).saturating_sub(lines));
                tail.push(format!("(the container {used})"));
            }
            tails.push(LogTail {
                source: format!("{service}.{replica}"),
                lines: tail,
            });
        }
        tails
    }

    /// Lines of the containers of a service.
    pub(crate) async fn logs_of(&self, service: &str, query: &LogQuery) -> Result<Vec<LogTail>> {
        let state = self.state.lock().await;
        if !state.instances.contains_key(service) {
            let known: Vec<&str> = state.instances.keys().map(String::as_str).collect();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the environment has no service `{service}`"),
            )
            .with_hint(format!("it has {}", known.join(", "))));
        }
        let mut tails = Vec::new();
        for (_, replica, container) in all(&state).filter(|(of, ..)| of == service) {
            tails.push(LogTail {
                source: format!("{service}.{replica}"),
                lines: self.engine.log_of(&container, query).await,
            });
        }
        Ok(tails)
    }

    /// What every container uses.
    pub(crate) async fn usage(&self) -> Result<Vec<ResourceUse>> {
        let state = self.state.lock().await;
        let all: Vec<_> = all(&state).collect();
        let asked = all
            .iter()
            .map(|(service, replica, container)| self.used(&state, service, *replica, container));
        futures_util::future::try_join_all(asked).await
    }

    async fn used(
        &self,
        state: &State,
        service: &str,
        replica: u32,
        container: &str,
    ) -> Result<ResourceUse> {
        let found = self.engine.inspect(container).await?;
        let found = found.state.unwrap_or_default();
        let stats = self.engine.stats(container).await?;
        let mut used = ResourceUse::of(service, replica, &stats);
        used.running = found.running == Some(true);
        used.exit_code = found.exit_code.filter(|_| !used.running);
        used.out_of_memory = found.oom_killed == Some(true);
        let definition = state.stack.services.get(service);
        used.memory_limit = definition.and_then(|service| service.limits.memory);
        Ok(used)
    }
}

/// Every container: service, number, the engine's name.
fn all(state: &State) -> impl Iterator<Item = (String, u32, String)> {
    state.instances.iter().flat_map(|(service, instances)| {
        (1..)
            .zip(instances)
            .map(|(replica, instance)| (service.clone(), replica, instance.container.clone()))
    })
}
