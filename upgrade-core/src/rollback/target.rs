//! The database that a strategy works on, and the lock of its operation.

use std::sync::{Arc, Mutex, PoisonError};

use crate::context::UpgradeContext;
use crate::error::Result;
use crate::postgres::Database;
use crate::postgres::database::Operation;

/// A database that was made by this library belongs to one run. One that was adopted belongs
/// to others as well, so a strategy locks it, unless its environment has done so.
#[derive(Debug, Default)]
pub(super) struct Target {
    adopted: Option<String>,
    operation: Mutex<Option<Arc<Operation>>>,
}

impl Target {
    pub(super) fn hand_over(&mut self, database: String) {
        self.adopted = Some(database);
    }

    /// The database, for an act that changes it. A process that goes on with what another one has prepared
    /// takes the lock here. That it was lost since is noticed by the guard of each act.
    pub(super) async fn locked(&self, cx: &UpgradeContext) -> Result<Database> {
        let database = self.live(cx)?;
        match self.adopted.is_some() && database.operation().is_none() {
            true => self.lock(cx).await,
            false => Ok(database),
        }
    }

    /// The database, under the lock if there is one.
    pub(super) fn live(&self, cx: &UpgradeContext) -> Result<Database> {
        let mut database = cx.database()?;
        if let Some(name) = &self.adopted {
            database = database.adopted(name)?;
        }
        if database.operation().is_none()
            && let Some(operation) = self.own()
        {
            database = database.under(operation);
        }
        Ok(database)
    }

    /// Locks the database if it has to be locked, until [`Self::release`] or the end of the
    /// strategy.
    pub(super) async fn lock(&self, cx: &UpgradeContext) -> Result<Database> {
        let database = self.live(cx)?;
        let by_environment = cx.database()?.operation().is_some();
        if by_environment || self.adopted.is_none() {
            return Ok(database);
        }
        if let Some(own) = self.own() {
            if own.run() == cx.run_id() && own.held().await.is_ok() {
                return Ok(database);
            }
            self.release().await;
        }
        let locking = self.live(cx)?.locked_for(cx.run_id());
        let locked = cx.bounded("lock the database", locking).await??;
        self.keep(locked.operation().cloned());
        Ok(locked)
    }

    /// Gives the strategy's own lock up.
    pub(super) async fn release(&self) {
        let own = self.own();
        self.keep(None);
        if let Some(own) = own {
            own.release().await;
        }
    }

    fn own(&self) -> Option<Arc<Operation>> {
        self.operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, operation: Option<Arc<Operation>>) {
        *self
            .operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = operation;
    }
}
