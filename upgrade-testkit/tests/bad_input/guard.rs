//! Databases that somebody else made: nothing of them is dropped, renamed, disconnected or
//! reverted unless they are adopted by name.

use std::sync::Arc;

use upgrade_core::environment::{
    At, Capabilities, DATABASE, DatabaseFaults as _, Endpoints, Environment, Existing, Fault,
    PostgresEnvironment, RowComparison as _, SessionMonitor as _, Snapshots as _,
    StatementTrial as _,
};
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::migration::{Outcome, SqlMigration};
use upgrade_core::observation::Scope;
use upgrade_core::postgres::database::{Marker, MarkerKind};
use upgrade_core::postgres::server::{Directories, LocalServer, Profile, ServerOptions};
use upgrade_core::postgres::{Database, Observer};
use upgrade_core::rollback::{RevertMigrations, RollbackRequest, RollbackScope, SnapshotSwap};
use upgrade_core::{
    Error, ErrorKind, Migration, Observation, Plan, Report, Result, Rollback, Runner, Scenario,
    Upgrade, UpgradeContext,
};

use crate::support::{Place, binaries, says};

/// A database that looks like a real one, on a server of the test's own.
struct Production {
    server: LocalServer,
    place: Place,
}

const COMMENT: &str = "production, do not touch";

impl Production {
    async fn start() -> Self {
        let place = Place::new();
        let options = ServerOptions::new(Profile::ThrowAway)
            .with_directories(Directories::below(place.path()));
        let server = LocalServer::start(&binaries(), options).await.unwrap();
        let this = Self { server, place };
        this.run("postgres", "create database shop").await;
        this.run(
            "postgres",
            &format!("comment on database shop is '{COMMENT}'"),
        )
        .await;
        this.run(
            "shop",
            "create table orders (id bigint primary key, total int)",
        )
        .await;
        this.run(
            "shop",
            "insert into orders select n, n * 2 from generate_series(1, 30) n",
        )
        .await;
        this
    }

    fn database(&self, name: &str) -> Database {
        Database::new(&self.server.connect_options(), name)
    }

    async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.database(database).connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// Everything that could have changed: catalog, rows, comment, oid, the list of databases.
    async fn state(&self) -> (Observation, Vec<(i64, String, Option<String>)>) {
        let mut connection = self.database("shop").connect().await.unwrap();
        let observer = Observer::default();
        let seen = observer.observe(&mut connection, &Scope::All).await;
        let seen = seen.unwrap();
        let databases = sqlx::query_as(
            "select oid::int8, datname::text, shobj_description(oid, 'pg_database') \
             from pg_database order by datname",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        (seen, databases)
    }

    fn migrations(&self) -> Vec<Arc<dyn Migration>> {
        let folder = self.place.files(
            "migrations",
            &[
                ("0001_mail.up.sql", "alter table orders add mail text"),
                ("0001_mail.down.sql", "alter table orders drop mail"),
                ("0002_boom.up.sql", "select * from nowhere"),
                ("0002_boom.down.sql", "select 1"),
            ],
        );
        SqlMigration::all(&MigrationFolder::read(folder).unwrap()).unwrap()
    }

    fn staging(&self) -> PostgresEnvironment {
        PostgresEnvironment::new("shop", Existing::disposable(self.database("shop")))
    }

    fn real(&self) -> PostgresEnvironment {
        PostgresEnvironment::new("shop", Existing::new(self.database("shop")))
    }

    async fn go(
        &self,
        environment: PostgresEnvironment,
        rollback: impl Rollback,
        migrations: &[Arc<dyn Migration>],
        scenario: Scenario,
    ) -> Result<Report> {
        let upgrade = Upgrade::new("shop", "1", "2")
            .with_migrations(migrations.iter().cloned())
            .with_rollback(rollback);
        let plan = Plan::new(
            &upgrade.outline(Capabilities::of(&environment)),
            scenario,
            1,
        )?;
        Runner::new(upgrade, environment).run(&plan).await
    }

    /// That a run is refused, and that nothing has changed.
    async fn is_refused(
        &self,
        rollback: impl Rollback,
        staging: bool,
        scenario: Scenario,
    ) -> Error {
        let before = self.state().await;
        let environment = if staging { self.staging() } else { self.real() };
        let migrations = self.migrations();
        let result = self.go(environment, rollback, &migrations, scenario).await;
        let error = result.unwrap_err();
        says(
            &error,
            ErrorKind::Refused,
            &[
                "`shop` was not made by this library",
                "hand it over by its name",
            ],
        );
        assert_eq!(self.state().await, before);
        error
    }
}

#[tokio::test]
async fn a_database_of_somebody_else_is_not_renamed_before_it_is_adopted() {
    let production = Production::start().await;
    let error = production
        .is_refused(SnapshotSwap::new(), false, Scenario::Upgrade)
        .await;
    assert!(error.report().is_some_and(|report| !report.passed));

    // A wrong name is refused as well, and the right one is enough to go there and back.
    let (seen, databases) = production.state().await;
    let migrations = production.migrations();
    let real = || production.real();
    let wrong = SnapshotSwap::new().adopted("shops");
    let refused = production.go(real(), wrong, &migrations, Scenario::Upgrade);
    says(
        &refused.await.unwrap_err(),
        ErrorKind::Refused,
        &["`shop` was not adopted", "`shops` was confirmed"],
    );
    assert_eq!(production.state().await, (seen.clone(), databases.clone()));
    let right = SnapshotSwap::new().adopted("shop");
    let report = production.go(real(), right, &migrations, Scenario::Upgrade);
    let report = report.await.unwrap();
    assert!(!report.passed, "the second migration fails: {report}");
    let rolled_back = report.rollbacks.first().expect("an automatic rollback");
    assert!(rolled_back.automatic && rolled_back.confirmed, "{report}");
    let (after, _) = production.state().await;
    assert_eq!(after, seen);
    let comment = production.state().await.1;
    let comment = comment.iter().find(|(_, name, _)| name == "shop");
    assert_eq!(comment.and_then(|one| one.2.as_deref()), Some(COMMENT));
}

#[tokio::test]
async fn a_database_of_somebody_else_is_not_reverted_before_it_is_adopted() {
    let production = Production::start().await;
    let migrations = production.migrations();
    let reverting = RevertMigrations::new(migrations.iter().cloned());
    production
        .is_refused(reverting, false, Scenario::Upgrade)
        .await;
    // A tool that calls the trait itself is refused too.
    let database = production.database("shop");
    let cx = UpgradeContext::new("1", "2")
        .with_endpoints(Endpoints::default().with(DATABASE, database.endpoint()));
    let reverting = RevertMigrations::new(migrations.iter().cloned()).adopted("shop");
    let kept = reverting.prepare(&cx, &RollbackScope::default()).await;
    let kept = kept.unwrap();
    let applied = migrations[0].apply(&cx).await.unwrap();
    assert_eq!(applied, Outcome::Done);
    let request = RollbackRequest::new([migrations[0].id().clone()]);
    let other = RevertMigrations::new(migrations.iter().cloned());
    let error = other.execute(&cx, &kept, &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let reverted = reverting.execute(&cx, &kept, &request).await.unwrap();
    assert_eq!(reverted, Outcome::Done);
    assert!(reverting.confirm(&cx, &kept).await.unwrap().is_pass());
}

#[tokio::test]
async fn staging_powers_do_not_reach_a_database_of_somebody_else() {
    let production = Production::start().await;
    for scenario in [
        Scenario::Upgrade,
        Scenario::RoundTrip,
        Scenario::Rollback,
        Scenario::Crash,
    ] {
        production
            .is_refused(SnapshotSwap::new(), true, scenario)
            .await;
    }
    // Whoever calls the environment itself is refused as well, with the copy in hand.
    let environment = production.staging();
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    let before = production.state().await;
    for refused in [
        environment.take(&cx, "a").await,
        environment.inject(&cx, Fault::TerminateSessions).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
    }
    let none = environment.restore(&cx, "a").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert_eq!(production.state().await, before);
    environment.teardown(&cx).await.unwrap();
    assert_eq!(production.state().await, before);
}

/// A real database that was adopted is upgraded, and nothing else: what staging may do to it is
/// refused whoever calls.
#[tokio::test]
async fn a_real_database_has_no_powers_of_staging() {
    let production = Production::start().await;
    let adopted = production.database("shop").adopted("shop").unwrap();
    let environment = PostgresEnvironment::new("production", Existing::new(adopted));
    assert_eq!(Capabilities::of(&environment), Capabilities::none());
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    let before = production.state().await;
    let mut refused = vec![
        environment.take(&cx, "a").await,
        environment.restore(&cx, "a").await,
        environment.begin(&cx).await,
        environment.try_statements(&cx, &At::Live).await.map(drop),
        environment
            .row_diff(&cx, &At::Live, &At::Live, &[])
            .await
            .map(drop),
    ];
    for fault in [
        Fault::TerminateSessions,
        Fault::KillProcess,
        Fault::KillServer,
        Fault::HoldSnapshot,
    ] {
        assert!(!environment.supports(fault));
        refused.push(environment.inject(&cx, fault).await);
    }
    for result in refused {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(production.state().await, before);
    environment.teardown(&cx).await.unwrap();
    assert_eq!(production.state().await, before);
}

/// What a teardown could not remove is known to the next one.
#[tokio::test]
async fn a_teardown_that_fails_can_be_called_again() {
    let production = Production::start().await;
    let adopted = production.database("shop").adopted("shop").unwrap();
    let environment = PostgresEnvironment::new("shop", Existing::disposable(adopted));
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    let before = production.state().await;
    environment.take(&cx, "a").await.unwrap();
    let maintenance =
        |allowed: bool| format!("alter database postgres with allow_connections {allowed}");
    production.run("shop", &maintenance(false)).await;
    environment.teardown(&cx).await.unwrap_err();
    production.run("shop", &maintenance(true)).await;
    assert_ne!(production.state().await, before, "the copy is left");
    environment.teardown(&cx).await.unwrap();
    assert_eq!(production.state().await, before);
    environment.teardown(&cx).await.unwrap();
}

#[tokio::test]
async fn a_restore_puts_rows_comment_and_owner_back_and_leaves_nothing() {
    let production = Production::start().await;
    let before = production.state().await;
    let adopted = production.database("shop").adopted("shop").unwrap();
    let environment = PostgresEnvironment::new("shop", Existing::disposable(adopted));
    let cx = UpgradeContext::new("1", "2");
    environment.prepare(&cx).await.unwrap();
    environment.take(&cx, "a").await.unwrap();
    production.run("shop", "drop table orders").await;
    environment.restore(&cx, "a").await.unwrap();
    environment.teardown(&cx).await.unwrap();
    let after = production.state().await;
    assert_eq!(after.0, before.0);
    let names = |state: &[(i64, String, Option<String>)]| -> Vec<(String, Option<String>)> {
        let mut names: Vec<_> = state
            .iter()
            .map(|(_, name, comment)| (name.clone(), comment.clone()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&after.1), names(&before.1));
}

#[tokio::test]
async fn a_real_system_gets_no_plan_that_needs_staging() {
    let production = Production::start().await;
    let before = production.state().await;
    for scenario in [Scenario::RoundTrip, Scenario::Rollback, Scenario::Crash] {
        let environment = production.real();
        let migrations = production.migrations();
        let planned = production.go(environment, SnapshotSwap::new(), &migrations, scenario);
        let error = planned.await.unwrap_err();
        says(
            &error,
            ErrorKind::Unsupported,
            &[scenario.as_str(), "an environment that can take snapshots"],
        );
    }
    assert_eq!(production.state().await, before);
}

#[tokio::test]
async fn a_marker_is_enough() {
    let production = Production::start().await;
    let database = production.database("mine");
    let mut admin = database.connect_maintenance().await.unwrap();
    let marker = Marker::new(MarkerKind::Test, "r1");
    database.create(&mut admin, &marker).await.unwrap();
    database.drop(&mut admin).await.unwrap();
    let error = production.database("shop").drop(&mut admin).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Refused);
}
