//! What can go wrong with a catalog.

/// Why a catalog could not be read from a database or a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A statement of ours failed: the connection broke, or a permission is missing.
    #[error("cannot read the {what} of the database")]
    Query {
        /// What was being read.
        what: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The server answered with something that is no set of facts.
    #[error("the server described one of the {what} in a form that cannot be read")]
    Row {
        /// What was being read.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The server is older than the oldest that is supported.
    #[error("server version `{found}` is not supported (use PostgreSQL 14 or newer)")]
    OldServer {
        /// The server's `server_version_num`.
        found: u32,
    },
    /// A file is no catalog.
    #[error("the text is not a catalog in JSON")]
    Json {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}
