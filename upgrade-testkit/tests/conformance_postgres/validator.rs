//! Queries as validators: by `Invariant` and by `validator_fn`.

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::environment::{DATABASE, Endpoint, Endpoints};
use upgrade_core::validator::Invariant;
use upgrade_core::{Finding, Result, UpgradeContext, Validator, Verdict, validator_fn};
use upgrade_testkit::conformance::{Hold, ValidatorFixture};

use super::support::{Server, connect, dump, execute, hold};

const QUERY: &str = "select * from orders where v is null";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Invariant,
    Function,
}

pub(crate) struct Queries(Server, Kind);

impl Queries {
    pub(crate) fn new(server: Server, kind: Kind) -> Self {
        Self(server, kind)
    }
}

async fn judge(cx: UpgradeContext) -> Result<Verdict> {
    let mut connection = connect(&cx).await?;
    let (all, bad): (i64, i64) =
        sqlx::query_as("select count(*), count(*) filter (where v is null) from orders")
            .fetch_one(&mut connection)
            .await?;
    Ok(match (all, bad) {
        (0, _) => Verdict::Inconclusive("there are no orders".to_owned()),
        (_, 0) => Verdict::Pass,
        _ => Verdict::Fail(vec![Finding::error(
            "bad-order",
            "orders",
            format!("{bad} are bad"),
        )]),
    })
}

#[async_trait]
impl ValidatorFixture for Queries {
    fn validator(&self) -> Arc<dyn Validator> {
        match self.1 {
            Kind::Invariant => Arc::new(Invariant::new("every order has a value", QUERY)),
            Kind::Function => Arc::new(validator_fn("every order has a value", judge)),
        }
    }

    async fn holding(&self) -> Result<UpgradeContext> {
        self.0.context().await
    }

    async fn broken(&self) -> Result<UpgradeContext> {
        let cx = self.0.context().await?;
        execute(&cx, "insert into orders (v) values (null)").await?;
        Ok(cx)
    }

    async fn empty(&self) -> Result<UpgradeContext> {
        let cx = self.0.context().await?;
        execute(&cx, "delete from orders").await?;
        Ok(cx)
    }

    async fn unreachable(&self) -> Result<UpgradeContext> {
        let nowhere = Endpoint::new("postgres://postgres@127.0.0.1:1/orders?sslmode=disable");
        Ok(UpgradeContext::new("1", "2")
            .with_endpoints(Endpoints::default().with(DATABASE, nowhere)))
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold(cx).await
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }
}
