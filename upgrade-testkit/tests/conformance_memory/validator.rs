//! A validator over the server in memory, and those that break one promise each.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use upgrade_core::{Error, ErrorKind, Finding, Result, UpgradeContext, Validator, Verdict};
use upgrade_testkit::conformance::{Hold, ValidatorFixture};

use crate::memory::{Server, Tables, at, deaf, lock, populated, row};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    NoName,
    BoredBySecondCall,
    FailsWithAWarning,
    PassesOnNoData,
    InconclusiveWhenUnreachable,
    KeepsItsVerdict,
    Writes,
    OwnConnection,
    IgnoresTheDeadline,
    IgnoresCancellation,
}

/// Every line has an order.
#[derive(Debug)]
struct LinesHaveOrders {
    server: Arc<Server>,
    bug: Bug,
    last: Mutex<Option<(String, Verdict)>>,
}

impl LinesHaveOrders {
    fn judge(&self, tables: &Tables) -> Verdict {
        let (Some(lines), Some(orders)) = (tables.get("lines"), tables.get("orders")) else {
            return Verdict::Inconclusive("the tables are missing".to_owned());
        };
        if lines.is_empty() && self.bug != Bug::PassesOnNoData {
            return Verdict::Inconclusive("there are no lines".to_owned());
        }
        let lost: Vec<Finding> = lines
            .iter()
            .filter(|(_, order)| !orders.contains_key(*order))
            .map(|(line, order)| {
                let make = if self.bug == Bug::FailsWithAWarning {
                    Finding::warning
                } else {
                    Finding::error
                };
                make(
                    "no-order",
                    line.as_str(),
                    format!("order `{order}` is missing"),
                )
            })
            .collect();
        if lost.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Fail(lost)
        }
    }
}

#[async_trait]
impl Validator for LinesHaveOrders {
    fn name(&self) -> &str {
        if self.bug == Bug::NoName {
            ""
        } else {
            "every line has an order"
        }
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let cx = &deaf(
            cx,
            self.bug == Bug::IgnoresTheDeadline,
            self.bug == Bug::IgnoresCancellation,
        );
        let database = if self.bug == Bug::OwnConnection {
            self.server.open_any(cx)
        } else {
            self.server.open(cx)
        };
        let database = match database {
            Err(error)
                if self.bug == Bug::InconclusiveWhenUnreachable
                    && error.kind() == ErrorKind::Unavailable =>
            {
                return Ok(Verdict::Inconclusive("it does not answer".to_owned()));
            }
            other => other?,
        };
        let verdict = self.judge(&database.read(cx).await?);
        if self.bug == Bug::Writes {
            let audit = |tables: &mut Tables| drop(tables.insert("audit".into(), row("a", "1")));
            database.write(cx, audit).await?;
        }
        let here = format!("{:p}", Arc::as_ptr(&database));
        let last = lock(&self.last).replace((here.clone(), verdict.clone()));
        Ok(match (self.bug, last) {
            (Bug::BoredBySecondCall, Some((there, _))) if here == there => {
                Verdict::Inconclusive("nothing new".to_owned())
            }
            (Bug::KeepsItsVerdict, Some((_, earlier))) => {
                *lock(&self.last) = Some((here, earlier.clone()));
                earlier
            }
            _ => verdict,
        })
    }
}

/// Systems on which the verdict is known.
pub(crate) struct Fixture {
    server: Arc<Server>,
    bug: Bug,
}

impl Fixture {
    pub(crate) fn new(bug: Bug) -> Self {
        Self {
            server: Arc::default(),
            bug,
        }
    }

    fn system(&self, tables: Tables) -> UpgradeContext {
        at(&self.server.create("", tables))
    }
}

#[async_trait]
impl ValidatorFixture for Fixture {
    fn validator(&self) -> Arc<dyn Validator> {
        Arc::new(LinesHaveOrders {
            server: Arc::clone(&self.server),
            bug: self.bug,
            last: Mutex::default(),
        })
    }

    async fn holding(&self) -> Result<UpgradeContext> {
        Ok(self.system(populated()))
    }

    async fn broken(&self) -> Result<UpgradeContext> {
        let mut tables = populated();
        let orders = tables
            .get_mut("orders")
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no table `orders`"))?;
        orders.remove("o1");
        Ok(self.system(tables))
    }

    async fn empty(&self) -> Result<UpgradeContext> {
        let mut tables = populated();
        tables.values_mut().for_each(|rows| rows.clear());
        Ok(self.system(tables))
    }

    async fn unreachable(&self) -> Result<UpgradeContext> {
        Ok(at("memory://nowhere"))
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        Ok(self.server.open(cx)?.hold().await)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        Ok(self.server.open(cx)?.state().await)
    }
}
