//! The example of `docs/conformance.md`, as it stands there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::RwLock;
use upgrade_core::environment::{DATABASE, Endpoint, Endpoints};
use upgrade_core::{Error, ErrorKind, Finding, Result, UpgradeContext, Validator, Verdict};
use upgrade_testkit::conformance::{Hold, ValidatorFixture};

/// How many lines each order has.
type Orders = Arc<RwLock<BTreeMap<String, u32>>>;

/// Where orders are found by URL.
#[derive(Debug, Default)]
struct Store(Mutex<BTreeMap<String, Orders>>);

impl Store {
    fn open(&self, cx: &UpgradeContext) -> Result<Orders> {
        let url = cx.endpoint(DATABASE)?.url();
        let stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = stores.get(url.expose()).cloned();
        orders.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the store does not answer"))
    }
}

/// What is examined.
#[derive(Debug)]
struct OrdersHaveLines(Arc<Store>);

#[async_trait]
impl Validator for OrdersHaveLines {
    fn name(&self) -> &str {
        "orders have lines"
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let store = self.0.open(cx)?;
        let orders = cx.bounded(self.name(), store.read()).await?;
        if orders.is_empty() {
            return Ok(Verdict::Inconclusive("there are no orders".to_owned()));
        }
        let empty = orders.iter().filter(|(_, lines)| **lines == 0);
        Ok(Verdict::from_findings(
            empty
                .map(|(order, _)| Finding::error("order-empty", order, "has no lines"))
                .collect(),
        ))
    }
}

/// What the suite needs to examine it.
#[derive(Default)]
struct Fixture(Arc<Store>);

impl Fixture {
    fn system(&self, orders: &[(&str, u32)]) -> UpgradeContext {
        let orders = orders
            .iter()
            .map(|(id, lines)| ((*id).to_owned(), *lines))
            .collect();
        let mut stores = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let url = format!("memory://{}", stores.len());
        stores.insert(url.clone(), Arc::new(RwLock::new(orders)));
        at(&url)
    }
}

fn at(url: &str) -> UpgradeContext {
    let endpoints = Endpoints::default().with(DATABASE, Endpoint::new(url));
    UpgradeContext::new("1", "2").with_endpoints(endpoints)
}

#[async_trait]
impl ValidatorFixture for Fixture {
    fn validator(&self) -> Arc<dyn Validator> {
        Arc::new(OrdersHaveLines(Arc::clone(&self.0)))
    }

    async fn holding(&self) -> Result<UpgradeContext> {
        Ok(self.system(&[("o1", 2)]))
    }

    async fn broken(&self) -> Result<UpgradeContext> {
        Ok(self.system(&[("o1", 2), ("o2", 0)]))
    }

    async fn empty(&self) -> Result<UpgradeContext> {
        Ok(self.system(&[]))
    }

    async fn unreachable(&self) -> Result<UpgradeContext> {
        Ok(at("memory://nowhere"))
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        Ok(Box::new(self.0.open(cx)?.write_owned().await))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(format!("{:?}", self.0.open(cx)?.read().await))
    }
}

upgrade_testkit::validator_conformance!(orders_have_lines, Fixture::default());
