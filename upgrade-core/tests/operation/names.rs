//! Names of databases that mean something in a URL, a shell or a statement.

use sqlx::Connection as _;
use upgrade_core::CommandLine;
use upgrade_core::environment::{At, Existing, PostgresEnvironment};
use upgrade_core::migration::CommandMigration;
use upgrade_core::observation::Scope;
use upgrade_core::rollback::{RollbackRequest, RollbackScope, SnapshotSwap};
use upgrade_core::{Environment as _, Migration as _, Rollback as _, UpgradeContext};

use super::support::{beside, server, shop_named};

/// Each with one that a client which decodes it once too often would reach.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a%20b",
        "100%",
        "%2Fa",
        "a/b",
        "/a",
        "?x=1#y",
        "u@h:1",
        "a b",
        "it's",
        "say \"hi\"",
        "back\\slash",
        "..",
        ".",
        "a+b&c=d",
        "größe 日本 🦀",
        "$HOME;`x`",
        "a\tb",
    ]
    .map(str::to_owned)
    .into();
    names.push("ü".repeat(31) + "x");
    names.push("n".repeat(63));
    names.push("日".repeat(21));
    names
}

#[tokio::test]
async fn every_name_is_reached_by_observers_migrations_commands_and_rollbacks() {
    let psql = server().binaries().program("psql");
    for name in names() {
        let database = shop_named(&name).await;
        let environment = PostgresEnvironment::new("shop", Existing::new(database.clone()));
        let cx = UpgradeContext::new("1", "2");
        environment.prepare(&cx).await.unwrap();
        let cx = cx.with_endpoints(environment.endpoints());

        let mut session = cx.connect().await.unwrap();
        let reached: String = sqlx::query_scalar("select current_database()::text")
            .fetch_one(&mut session)
            .await
            .unwrap();
        session.close().await.unwrap();
        assert_eq!(reached, name);
        let before = environment.observe(&cx, &At::Live, &Scope::All).await;

        let rollback = SnapshotSwap::new().adopted(&name);
        let kept = rollback.prepare(&cx, &RollbackScope::default()).await;
        let kept = kept.unwrap();
        // The command gets the URL in its environment, and it is libpq that reads it.
        let script = format!(
            "'{}' --no-psqlrc --set ON_ERROR_STOP=1 -c 'create table reached as select current_database() as name' \"$DATABASE_URL\"",
            psql.display()
        );
        let command = CommandLine::new("sh").with_args(["-c", &script]);
        let migration = CommandMigration::new("1", "reach", command);
        migration.apply(&cx).await.unwrap().into_result().unwrap();
        let mut session = database.connect().await.unwrap();
        let reached: String = sqlx::query_scalar("select name::text from reached")
            .fetch_one(&mut session)
            .await
            .unwrap();
        session.close().await.unwrap();
        assert_eq!(reached, name);

        let request = RollbackRequest::new([migration.id().clone()]);
        rollback
            .execute(&cx, &kept, &request)
            .await
            .unwrap()
            .into_result()
            .unwrap();
        assert!(
            rollback.confirm(&cx, &kept).await.unwrap().is_pass(),
            "{name}"
        );
        rollback.finalize(&cx, &kept).await.unwrap();
        let after = environment.observe(&cx, &At::Live, &Scope::All).await;
        assert_eq!(after.unwrap(), before.unwrap());
        environment.teardown(&cx).await.unwrap();
        assert!(
            beside(&database).await.contains(&format!("{name} open")),
            "{name}"
        );
    }
}
