//! What the seeder meets on purpose: no migration and no rollback of these kinds passes, whatever
//! the seed.

use std::collections::BTreeSet;
use std::time::Instant;

use sqlx::{Connection as _, PgConnection};
use upgrade_testkit::seed::Seeder;

use crate::support::{Server, run, texts};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;

/// Rows in each table.
const ROWS: u64 = 20;

/// One kind of change: the table, a statement that production's rows break, and the one that
/// undoes it, which rows break that only the newer schema allows.
struct Kind {
    name: &'static str,
    table: &'static str,
    tighter: &'static str,
    wider: &'static str,
}

const KINDS: [Kind; 14] = [
    Kind {
        name: "not null",
        table: "create table t0 (id bigint primary key, ended timestamptz)",
        tighter: "alter table t0 alter column ended set not null",
        wider: "alter table t0 alter column ended drop not null",
    },
    Kind {
        name: "not null of a foreign key",
        table: "create table t1 (id bigint primary key, of int references parents)",
        tighter: "alter table t1 alter column of set not null",
        wider: "alter table t1 alter column of drop not null",
    },
    Kind {
        name: "unique (a)",
        table: "create table t2 (id bigint primary key, a text not null)",
        tighter: "create unique index t2_once on t2 (a)",
        wider: "drop index t2_once",
    },
    Kind {
        name: "unique (lower(a))",
        table: "create table t3 (id bigint primary key, a text not null)",
        tighter: "create unique index t3_once on t3 (lower(a))",
        wider: "drop index t3_once",
    },
    Kind {
        name: "unique (lower(a)) where a is unique",
        table: "create table t4 (id bigint primary key, a text not null unique)",
        tighter: "create unique index t4_once on t4 (lower(a))",
        wider: "drop index t4_once",
    },
    Kind {
        name: "unique (trim(a)) where a is unique",
        table: "create table t5 (id bigint primary key, a varchar(60) not null unique)",
        tighter: "create unique index t5_once on t5 (btrim(a))",
        wider: "drop index t5_once",
    },
    Kind {
        name: "unique (a, b)",
        table: "create table t6 (id bigint primary key, a bigint not null, b bigint not null)",
        tighter: "alter table t6 add constraint t6_once unique (a, b)",
        wider: "alter table t6 drop constraint t6_once",
    },
    Kind {
        name: "unique (a, b) where (a, c) is unique",
        table: "create table t7 (id bigint primary key, a bigint not null, b date not null, c text not null, unique (a, c))",
        tighter: "alter table t7 add constraint t7_once unique (a, b)",
        wider: "alter table t7 drop constraint t7_once",
    },
    Kind {
        name: "a unique foreign key",
        table: "create table t8 (id bigint primary key, of int not null references parents)",
        tighter: "create unique index t8_once on t8 (of)",
        wider: "drop index t8_once",
    },
    Kind {
        name: "a shorter text",
        table: "create table t9 (id bigint primary key, a varchar(50) not null, b text not null)",
        tighter: "alter table t9 alter column a type varchar(40), alter column b type varchar(255)",
        wider: "alter table t9 alter column a type varchar(50), alter column b type text",
    },
    Kind {
        name: "a narrower number",
        table: "create table t10 (id bigint primary key, a bigint not null)",
        tighter: "alter table t10 alter column a type int",
        wider: "alter table t10 alter column a type bigint",
    },
    Kind {
        name: "a narrower key",
        table: "create table t11 (id bigint primary key)",
        tighter: "alter table t11 alter column id type int",
        wider: "alter table t11 alter column id type bigint",
    },
    Kind {
        name: "a CHECK of numbers",
        table: "create table t12 (id bigint primary key, a int not null check (a <= 1000000), b numeric(8,2) not null)",
        tighter: "alter table t12 add constraint t12_a check (a < 1000000), add constraint t12_b check (b > 0)",
        wider: "alter table t12 drop constraint t12_a, drop constraint t12_b",
    },
    Kind {
        name: "a CHECK of words",
        table: "create table t13 (id bigint primary key, a text not null check (a in ('new', 'open', 'done', 'lost')))",
        tighter: "alter table t13 add constraint t13_a check (a in ('new', 'open', 'done'))",
        wider: "alter table t13 drop constraint t13_a",
    },
];

/// Which of some statements the rows break, each tried alone.
async fn broken(conn: &mut PgConnection, statement: fn(&Kind) -> &str) -> BTreeSet<&'static str> {
    let mut broken = BTreeSet::new();
    for kind in &KINDS {
        let mut transaction = conn.begin().await.unwrap();
        let sql = sqlx::AssertSqlSafe(statement(kind).to_owned());
        if sqlx::raw_sql(sql).execute(&mut *transaction).await.is_err() {
            broken.insert(kind.name);
        }
        transaction.rollback().await.unwrap();
    }
    broken
}

fn schema() -> String {
    let tables: Vec<&str> = KINDS.iter().map(|kind| kind.table).collect();
    format!(
        "create table parents (id int primary key); {}",
        tables.join("; ")
    )
}

fn all() -> BTreeSet<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

#[tokio::test]
async fn rows_break_what_a_migration_tightens_with_every_seed() {
    let server = Server::start().await;
    let started = Instant::now();
    for seed in SEEDS {
        let mut conn = server.database("tighter", &schema()).await;
        Seeder::new(seed).rows(ROWS).fill(&mut conn).await.unwrap();
        let broken = broken(&mut conn, |kind| kind.tighter).await;
        assert_eq!(broken, all(), "seed {seed}");
    }
    println!("{:?}", started.elapsed());
}

#[tokio::test]
async fn writes_break_what_a_rollback_tightens_with_every_seed() {
    let server = Server::start().await;
    let started = Instant::now();
    for seed in SEEDS {
        let mut conn = server.database("wider", &schema()).await;
        for kind in &KINDS {
            run(&mut conn, kind.tighter).await;
        }
        // The older release takes nothing that it must not.
        Seeder::new(seed).rows(ROWS).fill(&mut conn).await.unwrap();
        for kind in &KINDS {
            run(&mut conn, kind.wider).await;
        }
        let writes = Seeder::new(seed + 100).rows(3).every_limit();
        writes.write(&mut conn).await.unwrap();
        let broken = broken(&mut conn, |kind| kind.tighter).await;
        assert_eq!(broken, all(), "seed {seed}");
    }
    println!("{:?}", started.elapsed());
}

#[tokio::test]
async fn every_label_is_written_and_a_text_that_is_cut_is_long_enough() {
    let server = Server::start().await;
    for seed in SEEDS {
        let schema = "create type mood as enum ('sad', 'ok', 'glad', 'mad', 'new');
            create table t (id bigint primary key, mood mood not null, title varchar not null)";
        let mut conn = server.database("labels", schema).await;
        Seeder::new(seed).rows(ROWS).fill(&mut conn).await.unwrap();
        let cut = "select count(*)::text from t where left(title, 20) <> title";
        assert_ne!(texts(&mut conn, cut).await, ["0"], "seed {seed}");
        run(&mut conn, "delete from t").await;
        let writes = Seeder::new(seed).rows(1).every_limit();
        writes.write(&mut conn).await.unwrap();
        let moods = texts(&mut conn, "select distinct mood::text from t order by 1").await;
        assert_eq!(moods, ["glad", "mad", "new", "ok", "sad"], "seed {seed}");
    }
}

#[tokio::test]
async fn what_refuses_special_rows_still_gets_its_rows() {
    let server = Server::start().await;
    let schema = "
        create table odd (id bigint primary key, a int not null, b text unique, c int,
          twice int generated always as (a * 2) stored, check (b is null or c is null),
          exclude using gist (int4range(a, a + 1) with &&) where (a < 100));
        create unique index odd_lower on odd (lower(b));
        create table calm (id int primary key, word text not null, n int not null);
        create function calm() returns trigger language plpgsql as $$
        begin
          if new.word !~ '^[a-z]{1,12}$' or abs(new.n) > 20000 then raise exception 'not calm'; end if;
          return new;
        end $$;
        create trigger calm before insert or update on calm for each row execute function calm();
        create table pairs (odd bigint primary key references odd)";
    for seed in 1..=5 {
        let mut conn = server.database("odd", schema).await;
        let report = Seeder::new(seed).rows(40).fill(&mut conn).await.unwrap();
        for table in report.tables() {
            assert_eq!(table.inserted, 40, "seed {seed}: {report}");
        }
        let writes = Seeder::new(seed).rows(3).every_limit();
        let report = writes.write(&mut conn).await.unwrap();
        for table in report.tables() {
            assert!(
                table.inserted >= 3 || table.short.is_some(),
                "seed {seed}: {report}"
            );
        }
    }
}
