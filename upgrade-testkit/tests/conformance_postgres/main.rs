//! The conformance suites of all four traits, run for our own implementations on a real server.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod environment;
mod migration;
mod rollback;
mod support;
mod validator;

use support::Server;
use upgrade_core::migration::folder::Layout;

upgrade_testkit::environment_conformance!(
    staging,
    environment::Staging::new(Server::start_killable().await)
);
upgrade_testkit::environment_conformance!(
    programs,
    environment::Staging::with_programs(Server::start_killable().await)
);
upgrade_testkit::environment_conformance!(
    real_system,
    environment::RealSystem::new(Server::start().await).await
);
upgrade_testkit::migration_conformance!(
    sqlx,
    migration::Files::new(Server::start().await, Layout::Sqlx)
);
upgrade_testkit::migration_conformance!(
    diesel,
    migration::Files::new(Server::start().await, Layout::Diesel)
);
upgrade_testkit::migration_conformance!(
    golang_migrate,
    migration::Files::new(Server::start().await, Layout::GolangMigrate)
);
upgrade_testkit::migration_conformance!(
    goose,
    migration::Files::new(Server::start().await, Layout::Goose)
);
upgrade_testkit::migration_conformance!(command, migration::Commands::new(Server::start().await));
upgrade_testkit::rollback_conformance!(snapshot_swap, rollback::Swap::new(Server::start().await));
upgrade_testkit::rollback_conformance!(
    revert_migrations,
    rollback::Revert::new(Server::start().await)
);
upgrade_testkit::validator_conformance!(
    invariant,
    validator::Queries::new(Server::start().await, validator::Kind::Invariant)
);
upgrade_testkit::validator_conformance!(
    function,
    validator::Queries::new(Server::start().await, validator::Kind::Function)
);
