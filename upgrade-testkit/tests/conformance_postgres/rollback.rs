//! The two rollback strategies.

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::migration::MigrationId;
use upgrade_core::rollback::{RevertMigrations, RollbackRequest, SnapshotSwap};
use upgrade_core::{Result, Rollback, UpgradeContext};
use upgrade_testkit::conformance::{Case, Hold, RollbackFixture};

use super::migration::plain;
use super::support::{Server, dump, execute, hold};

fn request() -> RollbackRequest {
    RollbackRequest::new([MigrationId::new("2", "parcels")])
}

async fn write(cx: &UpgradeContext) -> Result<()> {
    execute(cx, "insert into orders (v) values ('w')").await
}

/// What stands beside the database of a context.
async fn kept(server: &Server, cx: &UpgradeContext) -> Result<Vec<String>> {
    let own = cx.database()?.name().to_owned();
    let mut names = server.databases().await?;
    names.retain(|name| *name != own && name.starts_with(&format!("{own}_")));
    Ok(names)
}

pub(crate) struct Swap(Server);

impl Swap {
    pub(crate) fn new(server: Server) -> Self {
        Self(server)
    }
}

#[async_trait]
impl RollbackFixture for Swap {
    async fn system(&self) -> Result<(Arc<dyn Rollback>, UpgradeContext)> {
        let cx = self.0.context().await?;
        Ok((self.again(&cx).await?, cx))
    }

    async fn again(&self, _: &UpgradeContext) -> Result<Arc<dyn Rollback>> {
        Ok(Arc::new(SnapshotSwap::new()))
    }

    async fn write(&self, cx: &UpgradeContext) -> Result<()> {
        write(cx).await
    }

    async fn upgrade(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        plain().apply(cx).await?.into_result()?;
        write(cx).await?;
        Ok(request())
    }

    async fn interrupt(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        // What a migration outside of a transaction leaves: half of it, and no record.
        execute(cx, "create table parcels (id int primary key)").await?;
        Ok(request())
    }

    async fn cross(&self, _: &UpgradeContext) -> Result<Case<RollbackRequest>> {
        Ok(Case::not_applicable("a kept copy crosses everything"))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn kept(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        kept(&self.0, cx).await
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold(cx).await
    }
}

pub(crate) struct Revert(Server);

impl Revert {
    pub(crate) fn new(server: Server) -> Self {
        Self(server)
    }
}

#[async_trait]
impl RollbackFixture for Revert {
    async fn system(&self) -> Result<(Arc<dyn Rollback>, UpgradeContext)> {
        let cx = self.0.context().await?;
        Ok((self.again(&cx).await?, cx))
    }

    async fn again(&self, _: &UpgradeContext) -> Result<Arc<dyn Rollback>> {
        Ok(Arc::new(RevertMigrations::new([plain()])))
    }

    async fn write(&self, cx: &UpgradeContext) -> Result<()> {
        write(cx).await
    }

    async fn upgrade(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        plain().apply(cx).await?.into_result()?;
        Ok(request())
    }

    async fn interrupt(&self, _: &UpgradeContext) -> Result<RollbackRequest> {
        // In a transaction: nothing of it is there.
        Ok(request())
    }

    async fn cross(&self, _: &UpgradeContext) -> Result<Case<RollbackRequest>> {
        // A migration whose down is not at hand.
        Ok(Case::Given(RollbackRequest::new([MigrationId::new(
            "3",
            "elsewhere",
        )])))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        dump(cx, false).await
    }

    async fn kept(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        kept(&self.0, cx).await
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold(cx).await
    }
}
