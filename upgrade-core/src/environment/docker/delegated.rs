//! Capabilities that this environment has from its database, which is itself an environment.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::DockerEnvironment;
use crate::context::UpgradeContext;
use crate::environment::{
    At, DatabaseFaults, Fault, Refusal, RowComparison, SessionMonitor, StatementTrial,
};
use crate::error::Result;
use crate::finding::Finding;
use crate::observation::{RowDiff, RowDiffRequest};

#[async_trait]
impl RowComparison for DockerEnvironment {
    async fn row_diff(
        &self,
        cx: &UpgradeContext,
        from: &At,
        to: &At,
        requests: &[RowDiffRequest],
    ) -> Result<BTreeMap<String, RowDiff>> {
        self.postgres()?.row_diff(cx, from, to, requests).await
    }
}

#[async_trait]
impl DatabaseFaults for DockerEnvironment {
    fn supports(&self, _: Fault) -> bool {
        true
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        self.postgres()?.inject(cx, fault).await
    }
}

#[async_trait]
impl SessionMonitor for DockerEnvironment {
    async fn begin(&self, cx: &UpgradeContext) -> Result<()> {
        self.postgres()?.begin(cx).await
    }

    async fn end(&self, cx: &UpgradeContext) -> Result<Vec<Finding>> {
        self.postgres()?.end(cx).await
    }
}

#[async_trait]
impl StatementTrial for DockerEnvironment {
    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
        self.postgres()?.try_statements(cx, of).await
    }
}
