//! Where the parts of a system can be reached.

#[cfg(feature = "postgres")]
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "postgres")]
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The name of the endpoint at which the database answers.
pub const DATABASE: &str = "database";

/// Where one part of a system can be reached. The URL may hold a password.
#[derive(Clone)]
pub struct Endpoint {
    url: Secret,
    /// What whoever uses the endpoint works under: the lock of an operation, say.
    #[cfg(feature = "postgres")]
    held: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Endpoints are equal where their URLs are.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Endpoint {}

impl Endpoint {
    /// An endpoint at a URL.
    pub fn new(url: impl Into<Secret>) -> Self {
        Self {
            url: url.into(),
            #[cfg(feature = "postgres")]
            held: None,
        }
    }

    /// With what whoever uses it works under.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_held(mut self, held: Arc<dyn Any + Send + Sync>) -> Self {
        self.held = Some(held);
        self
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn held<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.held.clone()?.downcast().ok()
    }

    /// The URL.
    pub fn url(&self) -> &Secret {
        &self.url
    }
}

/// The endpoints of an environment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(BTreeMap<String, Endpoint>);

impl Endpoints {
    /// With one endpoint more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, endpoint: Endpoint) -> Self {
        self.0.insert(name.into(), endpoint);
        self
    }

    /// The endpoint of that name.
    pub fn get(&self, name: &str) -> Option<&Endpoint> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Endpoint)> {
        self.0
            .iter()
            .map(|(name, endpoint)| (name.as_str(), endpoint))
    }
}

/// The end of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// Who wrote it.
    pub source: String,
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
}
