//! Who waits for whom while a migration is applied.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};
use upgrade_core::environment::{Existing, PostgresEnvironment, SessionMonitor as _};
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::Profile;
use upgrade_core::{
    Environment, Finding, Report, Scenario, Severity, Traffic, UpgradeContext, Verdict,
    validator_fn,
};

use crate::support::{Shop, findings};

/// A migration under requests of four users, each of which is this statement.
async fn under(migration: &str, users: Option<&'static str>) -> Report {
    let shop = Shop::start().await;
    let case = shop.folder(&[
        (
            "1_ride.up.sql",
            "create table ride (id int primary key, km int not null);
             insert into ride select id, id from generate_series(1, 3) id;",
        ),
        ("1_ride.down.sql", "drop table ride;"),
        ("2_note.up.sql", migration),
        ("2_note.down.sql", "select 1;"),
    ]);
    let traffic = users.map(|sql| {
        let requests = validator_fn("rides", move |cx: UpgradeContext| async move {
            let mut connection = cx.connect().await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await?;
            Ok(Verdict::Pass)
        });
        Traffic::new(requests).with_lost_after(Duration::from_secs(120))
    });
    shop.go(case, Scenario::Upgrade, |upgrade| match traffic {
        Some(traffic) => upgrade.with_traffic(traffic),
        None => upgrade,
    })
    .await
}

fn queues(report: &Report) -> Vec<&Finding> {
    let all = report.findings.iter().map(|found| &found.finding);
    all.filter(|finding| finding.id == "up/lock-queue")
        .collect()
}

/// Waits in a migration until enough sessions wait for a lock, and then for long enough that it is
/// observed and users notice.
const UNTIL_USERS_WAIT: &str = "
    do $$ begin
        while (select count(*) from pg_locks where not granted) < 4 loop
            perform pg_sleep(0.01);
        end loop;
        perform pg_sleep(1.5);
    end $$;";

#[tokio::test]
async fn a_migration_that_works_under_its_lock_is_the_cause() {
    let migration = format!("alter table ride add column note text; {UNTIL_USERS_WAIT}");
    let report = under(&migration, Some("select count(*) from ride")).await;
    assert_eq!(findings(&report), [], "{report}");
    let [found] = queues(&report)[..] else {
        panic!("one finding: {report}")
    };
    assert_eq!(found.severity, Severity::Warning, "{found}");
    assert_eq!(found.subject, "table public.ride");
    for says in [
        "migration 2_note held ACCESS EXCLUSIVE while it worked",
        "4 other sessions waited for it, the longest ",
    ] {
        assert!(found.message.contains(says), "{found}");
    }
    assert!(found.help.as_ref().unwrap().contains("`not valid`"));
    let blames = found.blames.as_ref().expect("a migration");
    assert_eq!(blames.migration.to_string(), "2_note");
    // What took long, not what took the lock.
    assert_eq!(
        found.evidence.as_deref(),
        Some("the migration was running `do ?`")
    );
}

#[tokio::test]
async fn rows_that_a_migration_has_changed_stop_users_too() {
    let migration = format!("update ride set km = km; {UNTIL_USERS_WAIT}");
    let report = under(&migration, Some("update ride set km = km where id = 1")).await;
    assert_eq!(findings(&report), [], "{report}");
    let [found] = queues(&report)[..] else {
        panic!("one finding: {report}")
    };
    assert_eq!(found.severity, Severity::Warning, "{found}");
    assert_eq!(found.subject, "table public.ride");
    let says = "migration 2_note held locks on rows while it worked; 4 other sessions";
    assert!(found.message.contains(says), "{found}");
}

#[tokio::test]
async fn where_nobody_waits_nothing_is_found() {
    let slow = "create table other (id int); select pg_sleep(0.7);";
    for users in [None, Some("select count(*) from ride")] {
        let report = under(slow, users).await;
        assert_eq!(queues(&report), Vec::<&Finding>::new(), "{report}");
    }
    // Nobody is there who could.
    let report = under("alter table ride add column note text", None).await;
    assert_eq!(queues(&report), Vec::<&Finding>::new(), "{report}");
}

#[tokio::test]
async fn a_sampler_whose_session_is_ended_fails_nothing_and_goes_on() {
    // The second one is another session: the first was ended.
    let migration = format!(
        "alter table ride add column note text;
         do $$ declare sampler int; begin
             for number in 1 .. 2 loop
                 loop
                     perform pg_stat_clear_snapshot();
                     select pid into sampler from pg_stat_activity
                         where application_name = 'upgrade lock queue'
                             and pid is distinct from sampler;
                     exit when found;
                     perform pg_sleep(0.01);
                 end loop;
                 perform pg_terminate_backend(sampler);
             end loop;
         end $$;
         {UNTIL_USERS_WAIT}"
    );
    let report = under(&migration, Some("select count(*) from ride")).await;
    assert!(report.passed, "{report}");
    let [found] = queues(&report)[..] else {
        panic!("one finding: {report}")
    };
    assert!(found.message.contains("held ACCESS EXCLUSIVE"), "{found}");
}

/// Waits until the sampler has a session.
async fn until_observed(database: &Database) {
    let mut session = database.connect().await.unwrap();
    let sql = "select exists (select from pg_stat_activity \
         where application_name = 'upgrade lock queue')";
    for _ in 0..3000 {
        if sqlx::query_scalar(sql)
            .fetch_one(&mut session)
            .await
            .unwrap()
        {
            return session.close().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // poll
    }
    panic!("nothing is observed");
}

#[tokio::test]
async fn a_server_that_is_killed_meanwhile_fails_nothing() {
    let shop = Shop::start_with(Profile::Killable).await;
    let database = Database::new(&shop.connect_options(), "postgres");
    let cx = UpgradeContext::new("1", "2");
    let environment = PostgresEnvironment::new("watched", Existing::disposable(database.clone()));
    environment.prepare(&cx).await.unwrap();
    environment.begin(&cx).await.unwrap();
    until_observed(&database).await;
    shop.kill_and_start_again().await;
    until_observed(&database).await;
    assert_eq!(environment.end(&cx).await.unwrap(), []);
}

#[tokio::test]
async fn a_database_that_is_replaced_meanwhile_is_in_nobodys_way() {
    let shop = Shop::start().await;
    let admin = Database::new(&shop.connect_options(), "postgres");
    let mut admin = admin.connect().await.unwrap();
    sqlx::raw_sql("create database live")
        .execute(&mut admin)
        .await
        .unwrap();
    let live = Database::new(&shop.connect_options(), "live");
    let cx = UpgradeContext::new("1", "2");
    let environment = PostgresEnvironment::new("watched", Existing::disposable(live.clone()));
    environment.prepare(&cx).await.unwrap();
    environment.begin(&cx).await.unwrap();
    until_observed(&live).await;
    for sql in ["drop database live with (force)", "create database live"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    // The session is reopened in the new one.
    until_observed(&live).await;
    assert_eq!(environment.end(&cx).await.unwrap(), []);
}
