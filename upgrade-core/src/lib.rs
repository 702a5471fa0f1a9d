//! Upgrades of Postgres-backed systems as tested and reversible operations.
//!
//! An [`Upgrade`] says *what* changes: migrations, services, configuration. A [`Scenario`] says
//! in which order that happens and what goes wrong on the way. The [planner](plan) turns the two
//! and a seed into a [`Plan`], which is data; the [`Runner`] carries a plan out through four open
//! traits and tells what it does as [events](event).
//!
//! | trait | is asked to |
//! |---|---|
//! | [`Environment`] | provision, observe, snapshot and tear down the system that is upgraded |
//! | [`Migration`] | apply and revert one change of the schema or the data |
//! | [`Validator`] | judge whether the system does what its users need |
//! | [`Rollback`] | check beforehand whether a rollback is possible, execute it, verify it |
//!
//! The same runner serves tests (through `upgrade-testkit`) and tools that upgrade a real system.
//!
//! # Features
//!
//! - `postgres` (default): local Postgres servers, SQL migrations in the layouts that people
//!   have, catalog snapshots, fingerprints, and the two rollback strategies.
//! - `fetch`: pinned server binaries, fetched into the user's cache when the machine has none.
//! - `docker`: Postgres in a container as the last provider; systems of several services, built in
//!   code or read from compose files.
//! - `http`: workflows over HTTP, responses and latency of two releases compared.
//! - `openapi`: descriptions of HTTP interfaces compared, and the traffic checked against both.
//! - `browser`: pages of two releases compared in a browser.
//! - `notify`: webhooks, which send the notifications of an operation by HTTP.
//! - `otel`: metrics of runs for OpenTelemetry.
//! - `progress`: a progress display for terminals.
//! - `tls`: TLS to the server that `UPGRADE_PG_URL` names.
//! - `prometheus`: a validator that asks a Prometheus server.

#[cfg(feature = "browser")]
pub mod browser;
#[cfg(feature = "postgres")]
mod command;
pub mod configuration;
pub mod context;
#[cfg(feature = "docker")]
pub mod docker;
mod endpoint;
pub mod environment;
mod error;
pub mod event;
mod expected;
pub mod fault;
pub mod finding;
#[cfg(feature = "http")]
pub mod flow;
#[cfg(any(feature = "http", feature = "notify", feature = "prometheus"))]
pub mod http;
mod ids;
pub mod journal;
#[cfg(feature = "http")]
pub mod latency;
#[doc(hidden)]
pub mod lease;
mod measurement;
pub mod migration;
pub mod migration_test;
#[cfg(feature = "postgres")]
mod net;
pub mod notify;
pub mod observation;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod operation;
mod outcome;
pub mod plan;
#[cfg(feature = "postgres")]
pub mod postgres;
mod redact;
#[cfg(feature = "http")]
pub mod replay;
pub mod report;
pub mod reporter;
pub mod rollback;
pub mod runner;
mod saved;
pub mod scenario;
mod secret;
pub mod side;
#[cfg(feature = "http")]
mod statistics;
mod subject;
mod traffic;
pub mod upgrade;
pub mod validator;
pub mod watch;
pub mod writes;

#[cfg(feature = "postgres")]
pub use command::CommandLine;
pub use context::UpgradeContext;
pub use environment::Environment;
pub use error::{BoxError, Error, ErrorKind, Failure, Result};
pub use event::{Event, EventSink, LockHolder};
pub use finding::{Finding, Severity};
pub use ids::{Phase, RunId, Version};
pub use measurement::{Attachment, Measurement};
pub use migration::Migration;
pub use migration_test::MigrationTest;
pub use observation::Observation;
pub use plan::Plan;
pub use report::Report;
pub use rollback::Rollback;
pub use runner::Runner;
pub use scenario::Scenario;
pub use secret::Secret;
pub use subject::{ColumnRef, Object, Subject, TableRef};
pub use traffic::Traffic;
pub use upgrade::Upgrade;
pub use validator::{Validator, Verdict, validator_fn};
pub use writes::{Writes, writes_fn};

/// The examples of the guide to notifications compile.
#[cfg(all(doctest, feature = "notify"))]
#[doc = include_str!("../../docs/guide/notifications.md")]
struct Notifications;
