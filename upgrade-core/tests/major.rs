//! The way to a newer major version: from a local server of the oldest at hand to containers of 17
//! and 18, and back.
//!
//! Run them with `--include-ignored` where Docker is promised.
#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _};
use testcontainers::bollard::models::VolumeCreateRequest;
use testcontainers::bollard::query_parameters::RemoveVolumeOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use upgrade_core::postgres::container::{ContainerOptions, ContainerServer};
use upgrade_core::postgres::major::pg_upgrade::PgUpgrade;
use upgrade_core::postgres::major::{LogicalCopy, Tools, compare};
use upgrade_core::postgres::server::{
    Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
};
use upgrade_core::postgres::{Database, Observer};
use upgrade_core::rollback::Safety;
use upgrade_core::{ErrorKind, UpgradeContext};

/// A schema with what a copy could forget.
const SHOP: &str = r#"
create role shop_owner;
alter database shop set work_mem = '8MB';
alter database shop set search_path = shop, public;
create role shop_app login password 'x' connection limit 7 in role shop_owner;
alter role shop_app set search_path = "$user", shop;
create schema shop authorization shop_owner;
create type shop.mood as enum ('sad', 'ok', 'happy');
create domain shop.price as numeric(12, 2) check (value >= 0);
create extension if not exists pg_trgm;
create table shop.customers (
    id bigint generated always as identity primary key,
    name text not null,
    moods shop.mood[] not null default '{ok}',
    raw bytea,
    seen timestamptz,
    initial text generated always as (left(name, 1)) stored
);
create table shop.orders (
    id bigserial,
    customer bigint references shop.customers,
    total shop.price,
    half double precision,
    placed date not null
) partition by range (placed);
create table shop.orders_2024 partition of shop.orders for values from ('2024-01-01') to ('2025-01-01');
create table shop.orders_2025 partition of shop.orders for values from ('2025-01-01') to ('2026-01-01');
create unlogged table shop.cache (k text primary key, v jsonb);
create index customers_name on shop.customers using gin (name gin_trgm_ops);
create view shop.sad as select * from shop.customers where 'sad' = any (moods);
create materialized view shop.totals as select placed, sum(total) from shop.orders group by 1;
create function shop.touch() returns trigger language plpgsql as $$ begin new.seen := now(); return new; end $$;
create trigger touch before update on shop.customers for each row execute function shop.touch();
grant select on shop.customers to shop_app;
alter table shop.customers owner to shop_owner;
comment on table shop.customers is 'it''s theirs';
insert into shop.customers (name, moods, raw, seen)
    select 'name ' || i || E'\t\n\\.', array['sad', 'happy']::shop.mood[], decode(md5(i::text), 'hex'),
        timestamptz '2024-05-05 05:05:05.123456+02' + i * interval '1 s'
    from generate_series(1, 5000) i;
insert into shop.orders (customer, total, half, placed)
    select i, i / 3.0, i / 7.0, date '2024-01-01' + i % 700 from generate_series(1, 5000) i;
insert into shop.cache values ('a', '{"b": [1, null]}');
refresh materialized view shop.totals;
select setval('shop.orders_id_seq', 90000);
select lo_from_bytea(4711, decode(repeat('c0ffee', 5000), 'hex'));
"#;

async fn run(database: &Database, sql: &str) {
    let mut session = database.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut session)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{sql}"));
    session.close().await.unwrap();
}

async fn ask(database: &Database, sql: &'static str) -> String {
    let mut session = database.connect().await.unwrap();
    let answer = sqlx::query_scalar(sql)
        .fetch_one(&mut session)
        .await
        .unwrap();
    session.close().await.unwrap();
    answer
}

/// What a server says to a write, if it does not take it.
async fn refusal(database: &Database, sql: &str) -> String {
    let mut session = database.connect().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut session)
        .await;
    done.map(drop).unwrap_err().to_string()
}

async fn shop(server: &PgConnectOptions) -> Database {
    let database = Database::new(server, "shop").adopted("shop").unwrap();
    run(&database.sibling("postgres"), "create database shop").await;
    run(&database, SHOP).await;
    database
}

/// A server of this machine, of an older major than the containers' one.
async fn old_server() -> LocalServer {
    let options = ProviderOptions::from_env().unwrap();
    let Found::Binaries(binaries) = discover(&ServerRequirement::major(15), &options).unwrap()
    else {
        panic!("no binaries of Postgres 15 on this machine")
    };
    let options = ServerOptions::new(Profile::ThrowAway)
        .with_setting("wal_level", "logical")
        .and_then(|options| options.with_setting("max_prepared_transactions", "5"))
        .unwrap();
    LocalServer::start(&binaries, options).await.unwrap()
}

async fn container(major: u16) -> ContainerServer {
    ContainerServer::start(ContainerOptions::new("major").with_major(major))
        .await
        .unwrap()
}

fn cx() -> UpgradeContext {
    UpgradeContext::new("old", "new")
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_copy_goes_from_15_over_17_to_18_and_back() {
    let (old, seventeen, eighteen) = tokio::join!(old_server(), container(17), container(18));
    let at_15 = shop(&old.connect_options()).await;

    let up = LogicalCopy::new(
        at_15.clone(),
        &seventeen.connect_options(),
        Tools::image(seventeen.image()),
    );
    assert_eq!(up.check(&cx()).await.unwrap(), []);
    let copied = up.run(&cx()).await.unwrap();
    assert_eq!(copied.findings, []);
    assert_eq!((copied.rows, copied.tables), (10_001, 4));
    println!("15 to 17: read-only for {:?}", copied.read_only);
    let at_17 = copied.database.adopted("shop").unwrap();

    // What `compare` does not check: it belongs to the server, or is counted separately.
    assert_eq!(
        ask(&at_17, "select rolconnlimit || array_to_string(rolconfig, ';') from pg_roles where rolname = 'shop_app'").await,
        "7search_path=\"$user\", shop"
    );
    assert_eq!(
        ask(
            &at_17,
            "select pg_has_role('shop_app', 'shop_owner', 'member')::text"
        )
        .await,
        "true"
    );
    assert_eq!(
        ask(&at_17, "select count(*)::text from shop.totals").await,
        "700"
    );
    assert_eq!(
        ask(&at_17, "select nextval('shop.orders_id_seq')::text").await,
        "90001"
    );
    assert_eq!(
        ask(&at_17, "select md5(lo_get(4711))").await,
        ask(&at_15, "select md5(lo_get(4711))").await
    );

    // The old one refuses what would be lost.
    let late = "insert into shop.cache values ('late', '1')";
    let said = refusal(&at_15, late).await;
    assert!(said.contains("read-only transaction"), "{said}");

    let further = LogicalCopy::new(
        at_17.clone(),
        &eighteen.connect_options(),
        Tools::image(eighteen.image()),
    );
    let copied = further.run(&cx()).await.unwrap();
    assert_eq!(copied.findings, []);
    println!("17 to 18: read-only for {:?}", copied.read_only);
    let at_18 = copied.database;
    assert!(
        ask(&at_18, "select version()")
            .await
            .contains("PostgreSQL 18")
    );
    assert_eq!(
        compare(&at_15, &at_18, &Observer::default())
            .await
            .unwrap()
            .len(),
        0,
        "but for the sequence of above"
    );

    // Back, with nothing written; then with something.
    further.go_back(&cx()).await.unwrap();
    run(&at_17, late).await;
    let said = refusal(&at_18, late).await;
    assert!(said.contains("read-only transaction"), "{said}");
    let error = up.go_back(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("table shop.cache has gained rows: 1 before, 2 now"),
        "{error}"
    );
    run(&at_17, "insert into shop.cache values ('still open', '1')").await;
    let Safety::SafeWithLoss { losses } = up.go_back_with_losses(&cx()).await.unwrap() else {
        panic!("nothing was lost")
    };
    assert!(
        losses
            .iter()
            .any(|loss| loss.message.contains("shop.cache")),
        "{losses:?}"
    );
    run(&at_15, late).await;
    refusal(&at_17, late).await;

    old.stop().await.unwrap();
    seventeen.stop().await.unwrap();
    eighteen.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_stands_in_the_way_of_a_copy_is_named_and_nothing_is_changed() {
    let (old, new) = tokio::join!(old_server(), container(17));
    let at_15 = shop(&old.connect_options()).await;
    let tools = Tools::image(new.image());
    let copy = LogicalCopy::new(at_15.clone(), &new.connect_options(), tools.clone());

    run(
        &at_15,
        "begin; insert into shop.cache values ('p', '1'); prepare transaction 'half'",
    )
    .await;
    let mut session = at_15.connect().await.unwrap();
    let slot = "select pg_create_logical_replication_slot('reader', 'pgoutput')";
    // A slot waits for the transactions that it found, the prepared one among them.
    run(&at_15, "rollback prepared 'half'").await;
    sqlx::raw_sql(slot).execute(&mut session).await.unwrap();
    run(
        &at_15,
        "begin; insert into shop.cache values ('p', '1'); prepare transaction 'half'",
    )
    .await;
    let twice = "create unique index concurrently twice on shop.orders_2024 (placed)";
    sqlx::raw_sql(twice)
        .execute(&mut session)
        .await
        .unwrap_err();
    session.close().await.unwrap();
    run(
        &at_15,
        "create table shop.t (i int); insert into shop.t values (1)",
    )
    .await;
    run(
        &Database::new(&new.connect_options(), "postgres"),
        "create database shop",
    )
    .await;

    let error = copy.run(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    for said in [
        "database `shop` is on the newer server already",
        "invalid index `shop.twice` (`reindex` it, or drop it)",
        "prepared transaction `half` (commit it or roll it back)",
        "replication slot `reader`",
    ] {
        assert!(
            error.to_string().contains(said),
            "{said} is not in: {error}"
        );
    }
    run(&at_15, "insert into shop.t values (2)").await;

    // Not upwards; and a database that nobody adopted.
    let at_17 = Database::new(&new.connect_options(), "shop")
        .adopted("shop")
        .unwrap();
    for (server, said) in [
        (
            old.connect_options(),
            "the target is of major 15, older than 17",
        ),
        (new.connect_options(), "both servers are of major 17"),
    ] {
        let obstacles = LogicalCopy::new(at_17.clone(), &server, tools.clone());
        let obstacles = obstacles.check(&cx()).await.unwrap();
        assert_eq!(obstacles[0].what, said);
    }
    run(&at_15, "create database others").await;
    let others = LogicalCopy::new(
        at_15.sibling("others"),
        &new.connect_options(),
        tools.clone(),
    );
    let error = others.run(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("database `others` was not made by this library"),
        "{error}"
    );

    old.stop().await.unwrap();
    new.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_copy_that_fails_leaves_the_old_database_open_and_nothing_new() {
    let (old, new) = tokio::join!(old_server(), container(17));
    let at_15 = shop(&old.connect_options()).await;
    // A constraint that holds no more when its rows are written anew.
    run(
        &at_15,
        "create function shop.limit() returns bigint language sql as 'select 10::bigint'; \
        create table shop.limited (i bigint check (i < shop.limit())); \
        insert into shop.limited values (7); \
        create or replace function shop.limit() returns bigint language sql as 'select 5::bigint'",
    )
    .await;
    let copy = LogicalCopy::new(
        at_15.clone(),
        &new.connect_options(),
        Tools::image(new.image()),
    );
    let error = copy.run(&cx()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rows of table `shop.limited` could not be copied"
    );
    assert!(
        format!("{error:?}").contains("limited_i_check"),
        "{error:?}"
    );

    run(&at_15, "insert into shop.cache values ('open', '1')").await;
    let server = Database::new(&new.connect_options(), "postgres");
    assert_eq!(
        ask(
            &server,
            "select count(*)::text from pg_database where datname = 'shop'"
        )
        .await,
        "0"
    );

    let missing = LogicalCopy::new(
        at_15.clone(),
        &new.connect_options(),
        Tools::image("upgrade-base:1"),
    );
    let error = missing.run(&cx()).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("pg_dump: command not found"),
        "{error:?}"
    );
    run(&at_15, "insert into shop.cache values ('open again', '1')").await;
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}

/// Volumes; a test that fails leaves them, for whoever wants to look.
struct Volumes(Vec<String>);

impl Volumes {
    async fn make(names: &[&str]) -> Self {
        let docker = docker_client_instance().await.unwrap();
        let names = names
            .iter()
            .map(|name| format!("upgrade-test-{}-{name}", std::process::id()));
        let names: Vec<String> = names.collect();
        for name in &names {
            let request = VolumeCreateRequest {
                name: Some(name.clone()),
                ..VolumeCreateRequest::default()
            };
            docker.create_volume(request).await.unwrap();
        }
        Self(names)
    }

    async fn remove(self) {
        let docker = docker_client_instance().await.unwrap();
        let force = RemoveVolumeOptionsBuilder::new().force(true).build();
        for name in self.0 {
            docker
                .remove_volume(&name, Some(force.clone()))
                .await
                .unwrap();
        }
    }
}

async fn on_volume(major: u16, volume: &str) -> ContainerServer {
    let options = ContainerOptions::new("major")
        .with_major(major)
        .with_image("upgrade-postgres:all")
        .with_environment("PG_MAJOR", major.to_string())
        .with_setting("wal_level", "logical")
        .with_data_volume(volume)
        .with_password("kept");
    ContainerServer::start(options).await.unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn pg_upgrade_goes_from_15_over_17_to_18_and_back() {
    let volumes = Volumes::make(&["15", "17", "18"]).await;
    let [v15, v17, v18] = [&volumes.0[0], &volumes.0[1], &volumes.0[2]];
    let server = on_volume(15, v15).await;
    let at_15 = shop(&server.connect_options()).await;
    let running = PgUpgrade::new("upgrade-postgres:all", v15, v17, 17);
    let obstacles = running.check(&cx()).await.unwrap();
    assert_eq!(obstacles.len(), 1, "{obstacles:?}");
    assert_eq!(
        obstacles[0].what,
        "the old cluster was not stopped in order, it is `in production`"
    );

    let slot = "select pg_create_physical_replication_slot('standby')";
    run(&at_15, slot).await;
    server.stop().await.unwrap();
    let error = running.run(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("replication slot `standby`"),
        "{error}"
    );

    let server = on_volume(15, v15).await;
    let at_15 = Database::new(&server.connect_options(), "shop");
    run(&at_15, "select pg_drop_replication_slot('standby')").await;
    server.stop().await.unwrap();
    let done = running.run(&cx()).await.unwrap();
    println!("15 to 17: stopped for {:?}", done.took);
    assert_eq!(done.reindex, Vec::<String>::new());
    let done = PgUpgrade::new("upgrade-postgres:all", v17, v18, 18);
    let done = done.run(&cx()).await.unwrap();
    println!("17 to 18: stopped for {:?}", done.took);

    // All three start, each with what it had: to roll back, start the old one.
    let (old, middle, new) =
        tokio::join!(on_volume(15, v15), on_volume(17, v17), on_volume(18, v18));
    let [at_15, at_17, at_18] =
        [&old, &middle, &new].map(|server| Database::new(&server.connect_options(), "shop"));
    assert!(
        ask(&at_18, "select version()")
            .await
            .contains("PostgreSQL 18")
    );
    assert_eq!(
        compare(&at_15, &at_17, &Observer::default()).await.unwrap(),
        []
    );
    assert_eq!(
        compare(&at_17, &at_18, &Observer::default()).await.unwrap(),
        []
    );
    run(
        &at_18,
        "delete from shop.orders where id = 1; insert into shop.cache values ('late', '1')",
    )
    .await;
    let lost: Vec<String> = compare(&at_15, &at_18, &Observer::default())
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lost,
        [
            "error[major/differs] table shop.cache: has gained rows: 1 before, 2 now",
            "error[major/differs] table shop.orders: has lost rows: 5000 before, 4999 now",
        ]
    );
    for server in [old, middle, new] {
        server.stop().await.unwrap();
    }

    for (from, to, major, said) in [
        (v15, v17, 17, "is not empty (name a new one"),
        (v18, v17, 17, "the target is of major 17, older than 18"),
        (v15, v17, 16, "has no `pg_upgrade` of major 16"),
    ] {
        let obstacles = PgUpgrade::new("upgrade-postgres:all", from, to, major);
        let obstacles = obstacles.check(&cx()).await.unwrap();
        assert!(
            obstacles
                .iter()
                .any(|obstacle| obstacle.to_string().contains(said)),
            "{said}: {obstacles:?}"
        );
    }
    let error = PgUpgrade::new("upgrade-postgres:all", "no-such-volume", v17, 17);
    let error = error.check(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    volumes.remove().await;
}

/// Some releases of 17 keep a stamp among the options of each column, over which `pg_upgrade` of a
/// release of 18 that does not know it fails in the middle.
#[tokio::test]
#[ignore = "needs Docker"]
async fn what_pg_upgrade_would_fail_over_is_an_obstacle() {
    let volumes = Volumes::make(&["stamped", "unstamped"]).await;
    let [v17, v18] = [&volumes.0[0], &volumes.0[1]];
    let server = on_volume(17, v17).await;
    let at_17 = shop(&server.connect_options()).await;
    let stamps = "select count(*)::text from pg_attribute where attoptions::text like '%pg_attver=%' \
                  and attrelid = 'shop.customers'::regclass";
    let stamped = ask(&at_17, stamps).await != "0";
    server.stop().await.unwrap();
    let way = PgUpgrade::new("upgrade-postgres:all", v17, v18, 18);
    let obstacles = way.check(&cx()).await.unwrap();
    match obstacles.as_slice() {
        [] => drop(way.run(&cx()).await.unwrap()),
        [one] => assert!(stamped && one.what.contains("`pg_attver`"), "{one}"),
        many => panic!("{many:?}"),
    }
    volumes.remove().await;
}
