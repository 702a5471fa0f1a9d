//! A pointer to an environment is an environment, with all that it has.

use std::sync::Arc;

use async_trait::async_trait;

use super::claim::Claims;
use super::contract::{At, Environment, Unfilled};
use super::facets::{
    DatabaseFaults, RowComparison, ServiceFaults, Services, SessionMonitor, SideBySide, Snapshots,
    StatementTrial,
};
use crate::configuration::Configuration;
use crate::context::UpgradeContext;
use crate::endpoint::{Endpoints, LogTail};
use crate::error::Result;
use crate::observation::{Observation, Scope};

macro_rules! forward {
    ($($pointer:ident),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Environment + ?Sized> Environment for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn is_disposable(&self) -> bool {
                (**self).is_disposable()
            }

            async fn prepare(&self, cx: &UpgradeContext) -> Result<()> {
                (**self).prepare(cx).await
            }

            fn endpoints(&self) -> Endpoints {
                (**self).endpoints()
            }

            fn unfilled(&self) -> Vec<Unfilled> {
                (**self).unfilled()
            }

            async fn observe(
                &self,
                cx: &UpgradeContext,
                at: &At,
                scope: &Scope,
            ) -> Result<Observation> {
                (**self).observe(cx, at, scope).await
            }

            async fn size(&self, cx: &UpgradeContext) -> Result<Option<u64>> {
                (**self).size(cx).await
            }

            async fn logs(&self, cx: &UpgradeContext, lines: usize) -> Result<Vec<LogTail>> {
                (**self).logs(cx, lines).await
            }

            async fn teardown(&self, cx: &UpgradeContext) -> Result<()> {
                (**self).teardown(cx).await
            }

            fn services(&self) -> Option<&dyn Services> {
                (**self).services()
            }

            fn configuration(&self) -> Option<&dyn Configuration> {
                (**self).configuration()
            }

            fn snapshots(&self) -> Option<&dyn Snapshots> {
                (**self).snapshots()
            }

            fn side_by_side(&self) -> Option<&dyn SideBySide> {
                (**self).side_by_side()
            }

            fn row_comparison(&self) -> Option<&dyn RowComparison> {
                (**self).row_comparison()
            }

            fn database_faults(&self) -> Option<&dyn DatabaseFaults> {
                (**self).database_faults()
            }

            fn service_faults(&self) -> Option<&dyn ServiceFaults> {
                (**self).service_faults()
            }

            fn session_monitor(&self) -> Option<&dyn SessionMonitor> {
                (**self).session_monitor()
            }

            fn claims(&self) -> Option<&dyn Claims> {
                (**self).claims()
            }

            fn statement_trial(&self) -> Option<&dyn StatementTrial> {
                (**self).statement_trial()
            }
        }
    )+};
}

forward!(Arc, Box);
