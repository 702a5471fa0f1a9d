//! What a strategy keeps between its calls, as a value.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::MigrationId;

/// What a rollback is prepared for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RollbackScope {
    /// The migrations that are about to be applied, oldest first.
    pub migrations: Vec<MigrationId>,
}

impl RollbackScope {
    /// These migrations, oldest first.
    pub fn new(migrations: impl IntoIterator<Item = MigrationId>) -> Self {
        Self {
            migrations: migrations.into_iter().collect(),
        }
    }
}

/// What a strategy kept for one upgrade: names of copies, what was measured. Another process, in which
/// nothing else of the upgrade is known, rolls back with it.
///
/// It is data without secrets, and can be stored as JSON.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prepared(Value);

impl Prepared {
    /// A value that the strategy reads again with [`read`](Self::read).
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for one that is no JSON: a map whose keys are no text, say.
    pub fn new(state: &impl Serialize) -> Result<Self> {
        let state = serde_json::to_value(state).map_err(|source| {
            Error::new(ErrorKind::Internal, "what a rollback keeps is no JSON").with_source(source)
        })?;
        Ok(Self(state))
    }

    /// The value as the strategy knows it.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for the value of another strategy, or of a release that is too different.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.0).map_err(|source| {
            let message = "what is said to be kept for the rollback was kept by another strategy";
            Error::new(ErrorKind::Refused, message)
                .with_source(source)
                .with_hint("give the value that `prepare` of this strategy has returned")
        })
    }
}

impl Prepared {
    /// Whether a name is one of its texts: the name of a copy, say.
    #[cfg(feature = "postgres")]
    pub(crate) fn names(&self, name: &str) -> bool {
        fn found(value: &Value, name: &str) -> bool {
            match value {
                Value::String(text) => text == name,
                Value::Array(all) => all.iter().any(|one| found(one, name)),
                Value::Object(all) => all.values().any(|one| found(one, name)),
                _ => false,
            }
        }
        found(&self.0, name)
    }
}

impl fmt::Debug for Prepared {
    /// In short: a measured schema may have thousands of lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.as_object().into_iter().flat_map(|all| all.keys());
        f.debug_list().entries(names).finish()
    }
}
