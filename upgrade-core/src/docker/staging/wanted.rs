//! What should run of each service, container by container.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::options::{StagingOptions, Strategy};
use crate::docker::stack::{Service, Stack};
use crate::error::Result;

/// A container as it should be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) service: Arc<Service>,
    /// The image that was found, pulled or built for it.
    pub(super) image: Arc<str>,
}

/// The containers that each service should have. Services that are not named should have none.
pub(super) type Target = BTreeMap<String, Vec<Wanted>>;

/// All containers of a stack.
pub(super) fn whole(stack: &Stack, images: &BTreeMap<String, String>) -> Target {
    let services = stack.services.iter();
    services
        .map(|(name, service)| (name.clone(), all(service, &images[name])))
        .collect()
}

fn all(service: &Service, image: &str) -> Vec<Wanted> {
    let wanted = Wanted {
        service: Arc::new(service.clone()),
        image: Arc::from(image),
    };
    vec![wanted; replicas(service)]
}

/// The containers on the way from one stack to another when the first `count` instances have been
/// replaced.
pub(super) fn between(
    from: (&Stack, &BTreeMap<String, String>),
    to: (&Stack, &BTreeMap<String, String>),
    options: &StagingOptions,
    count: usize,
) -> Result<Target> {
    let mut target = whole(from.0, from.1);
    let mut left = count;
    for (name, instances) in instances(from.0, to.0, options)? {
        let done = left.min(instances);
        left -= done;
        if done == 0 {
            break;
        }
        let new = to.0.services.get(&name);
        let new = new.map_or_else(Vec::new, |service| all(service, &to.1[&name]));
        if done == instances {
            target.insert(name, new);
            continue;
        }
        let old = target.remove(&name).unwrap_or_default();
        let first = new.into_iter().take(done);
        target.insert(name, first.chain(old.into_iter().skip(done)).collect());
    }
    Ok(target)
}

/// The services that differ between two stacks, in the order in which they are replaced, each with
/// the number of its instances: as many as are replaced one by one, or one for a service that is
/// replaced as a whole. Services that are missing from the second stack come last.
pub(crate) fn instances(
    from: &Stack,
    to: &Stack,
    options: &StagingOptions,
) -> Result<Vec<(String, usize)>> {
    let mut order: Vec<&str> = to.start_order()?.into_iter().flatten().collect();
    let gone = from.services.keys().map(String::as_str);
    order.extend(gone.filter(|name| !to.services.contains_key(*name)));
    let differing = order
        .into_iter()
        .filter(|name| from.services.get(*name) != to.services.get(*name));
    Ok(differing
        .map(|name| {
            let one_by_one = options.strategy(name) == Strategy::Rolling;
            let number = match (from.services.get(name), to.services.get(name)) {
                (Some(from), Some(to)) if one_by_one => replicas(from).max(replicas(to)).max(1),
                _ => 1,
            };
            (name.to_owned(), number)
        })
        .collect())
}

fn replicas(service: &Service) -> usize {
    usize::try_from(service.replicas).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::stack::{Condition, Image};

    fn service(image: &str, replicas: u32) -> Service {
        Service::new(Image::named(image)).with_replicas(replicas)
    }

    fn images(stack: &Stack) -> BTreeMap<String, String> {
        let names = stack.services.keys();
        names.map(|name| (name.clone(), name.clone())).collect()
    }

    /// How many containers of each image there are on the way.
    fn on_the_way(from: &Stack, to: &Stack, options: &StagingOptions, count: usize) -> Vec<String> {
        let target =
            between((from, &images(from)), (to, &images(to)), options, count).expect("an order");
        let mut found = Vec::new();
        for (name, wanted) in target {
            let images = wanted.iter().map(|one| match &one.service.image {
                Image::Named(image) => image.clone(),
                other => format!("{other:?}"),
            });
            let images: Vec<String> = images.collect();
            found.push(format!("{name}: {}", images.join(" ")));
        }
        found
    }

    #[test]
    fn instances_are_replaced_in_the_order_in_which_services_start() {
        let stack = |version: &str| {
            Stack::new()
                .with_service("db", service("pg", 1))
                .with_service(
                    "api",
                    service(&format!("api:{version}"), 2).after("worker", Condition::Started),
                )
                .with_service("worker", service(&format!("worker:{version}"), 1))
        };
        let options = StagingOptions::default();
        let (from, to) = (stack("1"), stack("2"));
        assert_eq!(
            instances(&from, &to, &options).unwrap(),
            [("worker".to_owned(), 1), ("api".to_owned(), 2)]
        );
        let ways: Vec<_> = (0..5)
            .map(|count| on_the_way(&from, &to, &options, count).join(", "))
            .collect();
        assert_eq!(
            ways,
            [
                "api: api:1 api:1, db: pg, worker: worker:1",
                "api: api:1 api:1, db: pg, worker: worker:2",
                "api: api:2 api:1, db: pg, worker: worker:2",
                "api: api:2 api:2, db: pg, worker: worker:2",
                "api: api:2 api:2, db: pg, worker: worker:2",
            ]
        );
    }

    #[test]
    fn services_that_come_and_go_are_one_instance() {
        let from = Stack::new()
            .with_service("old", service("old", 3))
            .with_service("api", service("api:1", 1));
        let to = Stack::new()
            .with_service("api", service("api:2", 3))
            .with_service("cache", service("cache", 2));
        let options = StagingOptions::default();
        let ways: Vec<_> = (0..=5)
            .map(|count| on_the_way(&from, &to, &options, count).join(", "))
            .collect();
        assert_eq!(
            ways,
            [
                "api: api:1, old: old old old",
                "api: api:2, old: old old old",
                "api: api:2 api:2, old: old old old",
                "api: api:2 api:2 api:2, old: old old old",
                "api: api:2 api:2 api:2, cache: cache cache, old: old old old",
                "api: api:2 api:2 api:2, cache: cache cache, old: ",
            ]
        );
    }

    #[test]
    fn a_service_that_is_replaced_as_a_whole_is_one_instance() {
        let stack =
            |version: &str| Stack::new().with_service("api", service(&format!("api:{version}"), 3));
        let options = StagingOptions {
            strategy: Strategy::BlueGreen,
            ..StagingOptions::default()
        };
        let (from, to) = (stack("1"), stack("2"));
        assert_eq!(
            instances(&from, &to, &options).unwrap(),
            [("api".to_owned(), 1)]
        );
        assert_eq!(
            on_the_way(&from, &to, &options, 1),
            ["api: api:2 api:2 api:2"]
        );
    }
}
