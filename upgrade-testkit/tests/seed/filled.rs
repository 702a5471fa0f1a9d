//! The seeder against a real server.

use crate::support::{SHOP, Server, number, texts};
use proptest::strategy::Strategy;
use upgrade_testkit::seed::{Row, SeedError, Seeder, SqlValue};

/// One type a line.
const TYPES: &str = include_str!("types.txt");

#[tokio::test]
async fn every_type_is_filled() {
    let server = Server::start().await;
    let mut schema = String::from(
        "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube;
         CREATE TYPE mood AS ENUM ('sad', 'it''s', 'a,b \"c\"');
         CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE DOMAIN short_code AS varchar(8) NOT NULL CHECK (length(VALUE) BETWEEN 2 AND 4) CHECK (VALUE = upper(VALUE));
         CREATE TYPE pair AS (a int, b text);
         CREATE TYPE nested AS (p pair, moods mood[], code positive);
         CREATE TYPE textrange AS RANGE (subtype = text);",
    );
    for (at, ty) in TYPES.lines().enumerate() {
        schema.push_str(&format!(
            "CREATE TABLE t{at} (plain {ty} NOT NULL, many {ty}[] NOT NULL, maybe {ty});"
        ));
    }
    let mut conn = server.database("types", &schema).await;
    for seeder in [
        Seeder::new(1).rows(120),
        Seeder::new(2).rows(120).extremes(),
    ] {
        let report = seeder.fill(&mut conn).await.unwrap();
        assert_eq!(report.left_out(), [], "{report}");
        for (at, ty) in TYPES.lines().enumerate() {
            let table = report.table(&format!("public.t{at}")).unwrap();
            assert_eq!((table.inserted, table.refused), (120, 0), "{ty}: {report}");
        }
    }
    for (at, ty) in TYPES.lines().enumerate() {
        let distinct = number(
            &mut conn,
            &format!("SELECT count(DISTINCT plain::text) FROM t{at}"),
        )
        .await;
        assert!(distinct > 1, "{ty} has {distinct} values");
    }
    assert!(
        number(&mut conn, "SELECT count(*) FROM t12 WHERE plain = ''").await > 0,
        "empty text"
    );
}

#[tokio::test]
async fn every_kind_of_constraint_is_satisfied() {
    let server = Server::start().await;
    let mut conn = server.database("shop", SHOP).await;
    let report = Seeder::new(3)
        .rows(40)
        .table_rows("public.lines", 700)
        .fill(&mut conn)
        .await
        .unwrap();
    for table in report.tables() {
        assert_eq!(table.inserted, table.wanted, "{report}");
        assert_eq!(table.total, table.inserted, "{report}");
        assert!(
            table.refused <= table.wanted / 10,
            "{} refused {}",
            table.table,
            table.refused
        );
    }
    let order: Vec<&str> = report
        .tables()
        .iter()
        .map(|table| table.table.as_str())
        .collect();
    assert_eq!(
        order,
        [
            "public.tenants",
            "public.coupons",
            "public.customers",
            "public.orders",
            "public.lines",
            "public.profiles"
        ]
    );
    assert!(
        number(
            &mut conn,
            "SELECT count(*) FROM customers WHERE referrer_id IS NOT NULL"
        )
        .await
            > 5
    );
    assert!(
        number(
            &mut conn,
            "SELECT count(*) FROM orders WHERE coupon_id IS NOT NULL"
        )
        .await
            > 5
    );
    assert_eq!(
        number(&mut conn, "SELECT count(DISTINCT state) FROM orders").await,
        3
    );
    assert_eq!(
        number(&mut conn, "SELECT count(DISTINCT kind) FROM lines").await,
        3
    );
    // The application's next row does not collide.
    number(&mut conn, "INSERT INTO coupons (tenant_id, percent, starts, ends) SELECT tenant_id, 1, '2024-01-01', '2024-01-02' FROM coupons LIMIT 1 RETURNING id::int8").await;
}

#[tokio::test]
async fn the_same_seed_gives_the_same_data_and_a_new_column_changes_no_other() {
    let server = Server::start().await;
    let dump = "SELECT xmlagg(d ORDER BY n)::text FROM (SELECT relname AS n, table_to_xml(oid, true, false, '') AS d
                FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) x";
    let seeder = Seeder::new(11).rows(60);
    let mut dumps = Vec::new();
    for name in ["first", "second"] {
        let mut conn = server.database(name, SHOP).await;
        seeder.fill(&mut conn).await.unwrap();
        dumps.extend(texts(&mut conn, dump).await);
    }
    assert!(dumps[0].len() > 50_000);
    assert!(dumps[0] == dumps[1], "two fills with one seed differ");
    let names = "SELECT name || made FROM tenants ORDER BY id";
    let mut first = server.database("third", SHOP).await;
    let mut wider = server
        .database(
            "fourth",
            &format!("{SHOP} ALTER TABLE tenants ADD plan text NOT NULL; CREATE TABLE a (x int)"),
        )
        .await;
    let mut other = server.database("fifth", SHOP).await;
    seeder.fill(&mut first).await.unwrap();
    seeder.fill(&mut wider).await.unwrap();
    Seeder::new(12).rows(60).fill(&mut other).await.unwrap();
    let rows = texts(&mut first, names).await;
    assert_eq!(rows, texts(&mut wider, names).await);
    assert_ne!(rows, texts(&mut other, names).await);
}

#[tokio::test]
async fn cycles_and_self_references_are_closed() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE departments (id serial PRIMARY KEY, head_id int UNIQUE, parent_id int REFERENCES departments);
        CREATE TABLE people (id serial PRIMARY KEY, department_id int NOT NULL REFERENCES departments);
        ALTER TABLE departments ADD FOREIGN KEY (head_id) REFERENCES people;
        CREATE TABLE chickens (id int PRIMARY KEY, egg int NOT NULL);
        CREATE TABLE eggs (id int PRIMARY KEY, chicken int NOT NULL REFERENCES chickens);
        ALTER TABLE chickens ADD FOREIGN KEY (egg) REFERENCES eggs DEFERRABLE;
        CREATE TABLE nodes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, root bigint NOT NULL REFERENCES nodes);
        CREATE TABLE peers (name text PRIMARY KEY, next text NOT NULL REFERENCES peers);";
    let mut conn = server.database("cycles", schema).await;
    let seeder = Seeder::new(5).rows(30);
    let report = seeder.fill(&mut conn).await.unwrap();
    assert!(
        report.tables().iter().all(|table| table.inserted == 30),
        "{report}"
    );
    assert_eq!(report.left_out(), []);
    assert!(number(&mut conn, "SELECT count(head_id) FROM departments").await > 15);
    assert!(number(&mut conn, "SELECT count(parent_id) FROM departments").await > 15);
    assert!(number(&mut conn, "SELECT count(*) FROM nodes WHERE root <> id").await > 5);
    let deepest = "WITH RECURSIVE up AS (SELECT id, parent_id, 1 AS depth FROM departments
        UNION ALL SELECT up.id, d.parent_id, depth + 1 FROM up JOIN departments d ON d.id = up.parent_id WHERE depth < 40)
        SELECT max(depth)::int8 FROM up";
    let depth = number(&mut conn, deepest).await;
    assert!(
        (3..40).contains(&depth),
        "a tree without cycles is {depth} deep"
    );

    // Rows that were there keep what they had, NULL too.
    let kept = "SELECT id || ':' || coalesce(parent_id, 0) || ':' || coalesce(head_id, 0)
        FROM departments WHERE id <= 30 ORDER BY id";
    let before = texts(&mut conn, kept).await;
    let again = Seeder::new(6).rows(30).fill(&mut conn).await.unwrap();
    assert_eq!(again.table("public.departments").unwrap().total, 60);
    assert_eq!(texts(&mut conn, kept).await, before);
}

#[tokio::test]
async fn a_cycle_that_cannot_be_broken_is_named() {
    let server = Server::start().await;
    let schema = "CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL); CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; CREATE TABLE c (id int PRIMARY KEY)";
    let mut conn = server.database("hopeless", schema).await;
    let error = Seeder::new(1).fill(&mut conn).await.unwrap_err();
    assert!(
        matches!(&error, SeedError::Cycle { tables } if tables == "public.a, public.b"),
        "{error}"
    );
    let report = Seeder::new(1).lenient().fill(&mut conn).await.unwrap();
    assert_eq!(report.table("public.c").unwrap().inserted, 20);
    assert_eq!(report.left_out().len(), 2);
}

#[tokio::test]
async fn partitions_are_hit() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE logs (id bigserial, at timestamptz NOT NULL, msg text) PARTITION BY RANGE (at);
        CREATE TABLE logs_23 PARTITION OF logs FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
        CREATE TABLE logs_24 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-01-03');
        CREATE TABLE sales (region text NOT NULL, day date NOT NULL, amount int) PARTITION BY LIST (region);
        CREATE TABLE sales_eu PARTITION OF sales FOR VALUES IN ('de', 'fr') PARTITION BY RANGE (day);
        CREATE TABLE sales_eu_1 PARTITION OF sales_eu FOR VALUES FROM ('1960-01-01') TO ('1960-02-01');
        CREATE TABLE sales_us PARTITION OF sales FOR VALUES IN ('us');
        CREATE TABLE hashed (id uuid PRIMARY KEY) PARTITION BY HASH (id);
        CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE wide (a int, b int, c text) PARTITION BY RANGE (a, b);
        CREATE TABLE wide_0 PARTITION OF wide FOR VALUES FROM (1, 10) TO (1, 20);
        CREATE TABLE wide_1 PARTITION OF wide FOR VALUES FROM (5, 10) TO (7, MAXVALUE);
        CREATE TABLE named (n text) PARTITION BY RANGE (n);
        CREATE TABLE named_a PARTITION OF named FOR VALUES FROM (MINVALUE) TO ('n');
        CREATE TABLE named_b PARTITION OF named FOR VALUES FROM ('n') TO (MAXVALUE);
        CREATE TABLE rest (k int) PARTITION BY LIST (k);
        CREATE TABLE rest_1 PARTITION OF rest FOR VALUES IN (1, NULL);
        CREATE TABLE rest_d PARTITION OF rest DEFAULT;
        CREATE TABLE refs (h uuid NOT NULL REFERENCES hashed);
        CREATE TABLE none (k int) PARTITION BY LIST (k);";
    let mut conn = server.database("partitions", schema).await;
    let report = Seeder::new(9).rows(60).fill(&mut conn).await.unwrap();
    assert!(
        report.tables().iter().all(|table| table.inserted == 60),
        "{report}"
    );
    assert_eq!(report.left_out()[0].object, "public.none");
    for leaf in [
        "logs_23",
        "logs_24",
        "sales_eu_1",
        "sales_us",
        "hashed_0",
        "hashed_1",
        "wide_0",
        "wide_1",
        "named_a",
        "named_b",
        "rest_1",
        "rest_d",
    ] {
        assert!(
            number(&mut conn, &format!("SELECT count(*) FROM {leaf}")).await > 3,
            "{leaf}"
        );
    }
}

#[tokio::test]
async fn checks_are_learned_where_they_cannot_be_solved() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE checks (
          odd int NOT NULL CHECK (odd % 2 = 1), a int NOT NULL, b int NOT NULL, CHECK (a + b > 10),
          code text CHECK (code ~ '^[A-Z]{3}-[0-9]{4}$'), slug text NOT NULL CHECK (slug = lower(slug) AND slug <> ''),
          url text NOT NULL CHECK (url LIKE 'https://%'), low real NOT NULL CHECK (low >= 0.0 AND low < 1.0),
          kind text NOT NULL, v int, CHECK (kind = 'x' AND v IS NOT NULL OR kind = 'y' AND v IS NULL),
          list int[] NOT NULL CHECK (cardinality(list) BETWEEN 2 AND 3), hash bytea NOT NULL CHECK (octet_length(hash) = 32),
          flag bool NOT NULL, old bool NOT NULL CHECK (NOT (flag AND old)),
          level int NOT NULL CHECK (CASE WHEN flag THEN level > 0 ELSE level <= 0 END),
          during tstzrange NOT NULL, EXCLUDE USING gist (during WITH &&));
        CREATE TABLE single (id bool PRIMARY KEY DEFAULT true CHECK (id));
        CREATE FUNCTION even_only() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN IF NEW.n % 2 = 1 THEN RAISE EXCEPTION 'odd: %', NEW.n; END IF; INSERT INTO audit VALUES (NEW.n); RETURN NEW; END $$;
        CREATE TABLE audit (n int);
        CREATE TABLE guarded (n int NOT NULL);
        CREATE TRIGGER guard BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION even_only();";
    let mut conn = server.database("learned", schema).await;
    let report = Seeder::new(21)
        .rows(25)
        .table_rows("checks", 8)
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(
        report.table("public.checks").unwrap().inserted,
        8,
        "{report}"
    );
    let single = report.table("public.single").unwrap();
    assert_eq!(single.inserted, 1);
    assert!(
        single.short.as_ref().unwrap().contains("single_pkey"),
        "{report}"
    );
    assert_eq!(report.table("public.guarded").unwrap().inserted, 25);
    assert_eq!(number(&mut conn, "SELECT count(*) FROM audit").await, 50);
    assert_eq!(report.table("public.audit").unwrap().total, 50);
}

#[tokio::test]
async fn one_to_one_makes_no_more_rows_than_parents() {
    let server = Server::start().await;
    let schema = "CREATE TABLE users (id serial PRIMARY KEY); CREATE TABLE avatars (user_id int PRIMARY KEY REFERENCES users, url text);
        CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE ab (a int REFERENCES a, u int REFERENCES users, PRIMARY KEY (a, u));";
    let mut conn = server.database("pairs", schema).await;
    let seeder = Seeder::new(2)
        .rows(7)
        .table_rows("avatars", 30)
        .table_rows("ab", 49);
    let report = seeder.fill(&mut conn).await.unwrap();
    let avatars = report.table("public.avatars").unwrap();
    assert_eq!(avatars.inserted, 7);
    assert!(
        avatars
            .short
            .as_ref()
            .unwrap()
            .contains("referred to already"),
        "{report}"
    );
    assert_eq!(report.table("public.ab").unwrap().inserted, 49, "{report}");
    // Existing rows count and stay: no parent is used twice.
    let report = seeder.fill(&mut conn).await.unwrap();
    assert_eq!(report.table("public.avatars").unwrap().inserted, 7);
    assert_eq!(report.table("public.avatars").unwrap().existing, 7);
}

#[tokio::test]
async fn a_column_that_cannot_be_filled_is_named_and_can_be_supplied() {
    let server = Server::start().await;
    let schema = "CREATE TYPE code; CREATE FUNCTION code_in(cstring) RETURNS code LANGUAGE internal IMMUTABLE STRICT AS 'textin';
        CREATE FUNCTION code_out(code) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
        CREATE TYPE code (INPUT = code_in, OUTPUT = code_out, LIKE = text);
        CREATE TABLE places (id serial PRIMARY KEY, area code NOT NULL, spare code);
        CREATE TABLE picky (n int NOT NULL CONSTRAINT only_sevens CHECK ((n & -1) = 7777777));";
    let mut conn = server.database("unknown", schema).await;
    let error = Seeder::new(1)
        .skip("picky")
        .fill(&mut conn)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`public.places.area` of type `code`")
            && text.contains(".column(\"public.places.area\""),
        "{text}"
    );
    // A row is refused for good after a hundred questions for each try.
    let supplied = || {
        Seeder::new(1)
            .rows(5)
            .tries(5)
            .column("places.area", "[0-9]{1,3}")
    };
    let error = supplied().fill(&mut conn).await.unwrap_err();
    assert!(
        matches!(&error, SeedError::CannotFill { table, part, sqlstate, .. }
        if table == "public.picky" && part.contains("only_sevens") && sqlstate == "23514"),
        "{error}"
    );
    assert_eq!(
        number(&mut conn, "SELECT count(*) FROM places").await,
        0,
        "nothing stays behind"
    );
    let report = supplied().lenient().fill(&mut conn).await.unwrap();
    let left_out: Vec<&str> = report
        .left_out()
        .iter()
        .map(|item| item.object.as_str())
        .collect();
    assert_eq!(left_out, ["public.picky", "public.places.spare"]);
    let report = supplied()
        .column("public.picky.n", proptest::strategy::Just(7_777_777))
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(report.table("public.picky").unwrap().inserted, 5);
}

#[tokio::test]
async fn users_decide_rows_and_columns() {
    let server = Server::start().await;
    let schema = "CREATE TABLE settings (key text PRIMARY KEY, value text NOT NULL, made timestamptz NOT NULL DEFAULT '2001-02-03');
        CREATE TABLE _sqlx_migrations (version int); CREATE TABLE \"Odd.Name\" (\"a b\" text);
        CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY, kind text, n int); CREATE SCHEMA other; CREATE TABLE other.events (id int);";
    let mut conn = server.database("decided", schema).await;
    let fixed = vec![
        Row::from([("key", "currency"), ("value", "EUR")]),
        Row::new().with("key", "x").with("made", SqlValue::Default),
    ];
    let pairs = (1_i32..5)
        .prop_map(|n| Row::new().with("kind", format!("k{n}")).with("n", n))
        .sboxed();
    let seeder = Seeder::new(4)
        .rows(10)
        .table("settings", fixed)
        .table("public.events", pairs)
        .column("Odd.Name.a b", proptest::option::of("[xyz]"))
        .skip("other.events")
        .skip("flyway_schema_history");
    let report = seeder.fill(&mut conn).await.unwrap();
    assert_eq!(
        texts(&mut conn, "SELECT key FROM settings ORDER BY 1").await,
        ["currency", "x"]
    );
    assert_eq!(
        number(
            &mut conn,
            "SELECT count(*) FROM settings WHERE key = 'x' AND made = '2001-02-03' OR value = 'EUR'"
        )
        .await,
        2
    );
    assert_eq!(
        number(
            &mut conn,
            "SELECT count(*) FROM events WHERE kind = 'k' || n"
        )
        .await,
        10
    );
    assert_eq!(
        number(
            &mut conn,
            "SELECT count(*) FROM \"Odd.Name\" WHERE \"a b\" IS NULL OR \"a b\" ~ '^[xyz]$'"
        )
        .await,
        10
    );
    let left_out: Vec<&str> = report
        .left_out()
        .iter()
        .map(|item| item.object.as_str())
        .collect();
    assert_eq!(left_out, ["other.events", "public._sqlx_migrations"]);

    for (seeder, expected) in [
        (Seeder::new(1).skip("nope"), "no table `nope`"),
        (
            Seeder::new(1).skip("events"),
            "`events` names several tables: other.events, public.events",
        ),
        (
            Seeder::new(1).table(
                "settings",
                proptest::strategy::Just(Row::new().with("nope", 1)).sboxed(),
            ),
            "no column `public.settings.nope`",
        ),
        (
            Seeder::new(1).column("settings.nope", "x"),
            "no column `settings.nope`",
        ),
        (
            Seeder::new(1).table("settings", vec![Row::new().with("nope", 1)]),
            "no column `public.settings.nope`",
        ),
    ] {
        let error = seeder.fill(&mut conn).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_fill_can_be_spawned() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let server = Server::start().await;
    let mut conn = server.database("spawned", "CREATE TABLE t (id int)").await;
    let seeder = Seeder::new(1);
    assert_eq!(
        is_send(seeder.fill(&mut conn)).await.unwrap().inserted(),
        20
    );
}
