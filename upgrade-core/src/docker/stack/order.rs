//! What a stack must be to be started, and in which order that happens.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, DEFAULT_NETWORK, Mount, Stack};
use crate::error::{Error, ErrorKind, Result};

impl Stack {
    /// The names of the services in the order in which they start: those of one group start
    /// together, after all that they depend on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a service depends on one that is not there or, by way of
    /// others, on itself; when it waits for the health of one that cannot tell; when it names a
    /// network or volume that is not declared.
    pub fn start_order(&self) -> Result<Vec<Vec<&str>>> {
        self.check()?;
        let mut waiting: BTreeMap<&str, BTreeSet<&str>> = self
            .services
            .iter()
            .map(|(name, service)| {
                let needs = service.depends_on.keys().map(String::as_str);
                (
                    name.as_str(),
                    needs
                        .filter(|other| self.services.contains_key(*other))
                        .collect(),
                )
            })
            .collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready: Vec<&str> = waiting
                .iter()
                .filter(|(_, needs)| needs.is_empty())
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                let circle: Vec<String> = waiting.keys().map(|name| format!("`{name}`")).collect();
                return Err(invalid(format!(
                    "services {} wait for each other (`depends_on`)",
                    circle.join(", ")
                ))
                .with_hint("one of them has to start without the others"));
            }
            waiting.retain(|name, _| !ready.contains(name));
            for needs in waiting.values_mut() {
                needs.retain(|name| !ready.contains(name));
            }
            order.push(ready);
        }
        Ok(order)
    }

    fn check(&self) -> Result<()> {
        for (name, service) in &self.services {
            for (other, dependency) in &service.depends_on {
                match self.services.get(other) {
                    None if dependency.required => {
                        return Err(invalid(format!(
                            "service `{name}` depends on `{other}`, which is not there"
                        ))
                        .with_hint(
                            "is its name right, or is it in a profile that is not switched on?",
                        ));
                    }
                    Some(found)
                        if dependency.condition != Condition::Completed && found.replicas == 0 =>
                    {
                        return Err(invalid(format!(
                            "service `{name}` waits for `{other}`, of which no container runs"
                        ))
                        .with_hint("give it a replica"));
                    }
                    _ => {}
                }
            }
            for network in service.networks.keys() {
                if network != DEFAULT_NETWORK && !self.networks.contains_key(network) {
                    return Err(undeclared(name, "network", network));
                }
            }
            for mount in &service.mounts {
                if let Mount::Volume {
                    name: Some(volume), ..
                } = mount
                    && !self.volumes.contains_key(volume)
                {
                    return Err(undeclared(name, "volume", volume));
                }
            }
        }
        Ok(())
    }
}

fn undeclared(service: &str, kind: &str, name: &str) -> Error {
    invalid(format!(
        "service `{service}` uses {kind} `{name}`, which the stack does not declare"
    ))
    .with_hint(format!("add it to the {kind}s of the stack"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::super::{Image, Service};
    use super::*;

    fn stack(edges: &[(&str, &[&str])]) -> Stack {
        edges.iter().fold(Stack::new(), |stack, (name, needs)| {
            let service = Service::new(Image::named("i"));
            let service = needs.iter().fold(service, |service, other| {
                service.after(*other, Condition::Started)
            });
            stack.with_service(*name, service)
        })
    }

    #[test]
    fn services_start_after_what_they_need() {
        let stack = stack(&[
            ("web", &["api", "cache"]),
            ("api", &["db"]),
            ("cache", &[]),
            ("db", &[]),
        ]);
        assert_eq!(
            stack.start_order().unwrap(),
            [vec!["cache", "db"], vec!["api"], vec!["web"]]
        );
    }

    #[test]
    fn a_circle_is_named() {
        let error = stack(&[("a", &["b"]), ("b", &["a"]), ("c", &[])])
            .start_order()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "services `a`, `b` wait for each other (`depends_on`) (one of them has to start without the others)"
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = stack(&[("a", &["b"])]).start_order().unwrap_err();
        assert!(missing.to_string().contains("depends on `b`"), "{missing}");
        let mut optional = stack(&[("a", &["b"])]);
        let service = optional.services.get_mut("a").unwrap();
        service.depends_on.get_mut("b").unwrap().required = false;
        assert_eq!(optional.start_order().unwrap(), [["a"]]);

        let mut stack = stack(&[("a", &[])]);
        let service = stack.services.get_mut("a").unwrap();
        service.mounts.push(Mount::Volume {
            name: Some("data".into()),
            target: "/data".into(),
            read_only: false,
        });
        let error = stack.start_order().unwrap_err();
        assert!(error.to_string().contains("volume `data`"), "{error}");
        assert_eq!(stack.with_volume("data").start_order().unwrap(), [["a"]]);
    }
}
