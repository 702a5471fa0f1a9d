//! The seeder against constraints that cannot be solved row by row, or that tie tables together.

use crate::support::{Server, number};
use upgrade_testkit::seed::{SeedError, SeedReport, Seeder};

fn all_full(report: &SeedReport) {
    for table in report.tables() {
        assert_eq!(table.inserted, table.wanted, "{}: {report}", table.table);
    }
    assert_eq!(report.left_out(), []);
}

#[tokio::test]
async fn keys_of_several_columns_share_them() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE regions (country char(2), code int, PRIMARY KEY (country, code));
        CREATE TABLE shops (country char(2), shop int, region int NOT NULL, PRIMARY KEY (country, shop),
          FOREIGN KEY (country, region) REFERENCES regions, UNIQUE (country, region, shop));
        CREATE TABLE staff (id uuid PRIMARY KEY, country char(2) NOT NULL, shop int NOT NULL, boss uuid REFERENCES staff, UNIQUE (country, id),
          FOREIGN KEY (country, shop) REFERENCES shops);
        -- Two keys that share a column, and are part of the primary key and of a unique one.
        CREATE TABLE shifts (country char(2), shop int, worker uuid, day date, deputy uuid,
          PRIMARY KEY (country, shop, worker, day), UNIQUE (worker, day),
          FOREIGN KEY (country, shop) REFERENCES shops, FOREIGN KEY (country, worker) REFERENCES staff (country, id),
          FOREIGN KEY (country, deputy) REFERENCES staff (country, id) MATCH SIMPLE);
        -- A key to a key, each used once.
        CREATE TABLE badges (country char(2), worker uuid, number int NOT NULL UNIQUE, PRIMARY KEY (country, worker),
          FOREIGN KEY (country, worker) REFERENCES staff (country, id) ON DELETE CASCADE);
        CREATE TABLE whole (a int, b int, FOREIGN KEY (a, b) REFERENCES pairs_of MATCH FULL);";
    let schema = schema.replace(
        "CREATE TABLE whole",
        "CREATE TABLE pairs_of (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE whole",
    );
    let mut conn = server.database("shared", &schema).await;
    let seeder = Seeder::new(1).rows(60);
    all_full(&seeder.fill(&mut conn).await.unwrap());
    all_full(&seeder.fill(&mut conn).await.unwrap());
    for (both, least) in [("deputy IS NOT NULL", 60), ("deputy IS NULL", 3)] {
        let query = format!("SELECT count(*) FROM shifts WHERE {both}");
        assert!(number(&mut conn, &query).await >= least, "{both}");
    }
    assert!(number(&mut conn, "SELECT count(*) FROM whole WHERE a IS NULL").await > 0);
}

#[tokio::test]
async fn cycles_of_deferrable_keys_are_closed() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL UNIQUE);
        CREATE TABLE b (id int PRIMARY KEY, c int NOT NULL);
        CREATE TABLE c (id int PRIMARY KEY, a int NOT NULL, code char(4) NOT NULL);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED;
        ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c DEFERRABLE;
        ALTER TABLE c ADD FOREIGN KEY (a) REFERENCES a DEFERRABLE INITIALLY IMMEDIATE;
        CREATE TABLE people (id int PRIMARY KEY, partner int NOT NULL UNIQUE REFERENCES people DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE chars (code char(6) PRIMARY KEY, next char(6) REFERENCES chars);";
    let mut conn = server.database("deferred", schema).await;
    let seeder = Seeder::new(2).rows(50);
    all_full(&seeder.fill(&mut conn).await.unwrap());
    all_full(&seeder.write(&mut conn).await.unwrap());
    assert!(number(&mut conn, "SELECT count(next) FROM chars").await > 30);
}

#[tokio::test]
async fn exclusion_constraints_leave_room() {
    let server = Server::start().await;
    let schema = "
        CREATE EXTENSION btree_gist;
        CREATE TABLE rooms (id serial PRIMARY KEY);
        CREATE TABLE bookings (room int NOT NULL REFERENCES rooms, during tstzrange NOT NULL, EXCLUDE USING gist (room WITH =, during WITH &&));
        CREATE TABLE prices (product text NOT NULL, days daterange NOT NULL, EXCLUDE USING gist (product WITH =, days WITH &&) WHERE (product <> 'x'));
        CREATE TABLE areas (place circle NOT NULL, EXCLUDE USING gist (place WITH &&));
        CREATE TABLE plots (plot box NOT NULL, EXCLUDE USING gist (plot WITH &&));
        CREATE TABLE numbers (span int4range NOT NULL, spans datemultirange NOT NULL, EXCLUDE USING gist (span WITH &&), EXCLUDE USING gist (spans WITH &&));
        CREATE TABLE hosts (host inet NOT NULL, EXCLUDE USING gist (host inet_ops WITH &&));
        CREATE TABLE names (name text NOT NULL, EXCLUDE USING btree (lower(name) WITH =));";
    let mut conn = server.database("excluded", schema).await;
    let seeder = Seeder::new(3).rows(250);
    all_full(&seeder.fill(&mut conn).await.unwrap());
    all_full(&seeder.rows(50).write(&mut conn).await.unwrap());
}

#[tokio::test]
async fn checks_that_call_functions_are_asked_for() {
    let server = Server::start().await;
    let schema = "
        CREATE FUNCTION is_even(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 0';
        CREATE FUNCTION digits(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length(abs($1::int8)::text)';
        CREATE SCHEMA lib; CREATE FUNCTION lib.sum_of(int, int) RETURNS int8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1::int8 + $2; END';
        CREATE DOMAIN even AS int CHECK (is_even(VALUE));
        CREATE DOMAIN even_and_long AS even NOT NULL CHECK (digits(VALUE) BETWEEN 4 AND 5);
        CREATE TABLE checked (\"Odd name\" int NOT NULL CONSTRAINT even CHECK (is_even(\"Odd name\")), b int NOT NULL, c int NOT NULL,
          at timestamptz NOT NULL DEFAULT now(), d int GENERATED ALWAYS AS (b / 2) STORED, CHECK (is_even(d) OR d IS NULL),
          CONSTRAINT digits CHECK (digits(b) = 3 AND digits(c) <= 4), CONSTRAINT total CHECK (lib.sum_of(b, c) > 10 AND (b + c) % 7 = 3),
          e even, f even_and_long, g even[] CHECK (cardinality(g) > 0));
        CREATE TABLE listed (k int NOT NULL, v text) PARTITION BY LIST ((k % 5));
        CREATE TABLE listed_1 PARTITION OF listed FOR VALUES IN (1);
        CREATE TABLE listed_3 PARTITION OF listed FOR VALUES IN (3, 4);";
    let mut conn = server.database("asked", schema).await;
    let seeder = Seeder::new(4).rows(300);
    all_full(&seeder.fill(&mut conn).await.unwrap());
    all_full(&seeder.rows(30).write(&mut conn).await.unwrap());
    let both = "SELECT count(DISTINCT tableoid) FROM listed";
    assert_eq!(number(&mut conn, both).await, 2);
}

#[tokio::test]
async fn a_check_that_nothing_satisfies_is_named_with_its_expression() {
    let server = Server::start().await;
    let schema = "
        CREATE FUNCTION never(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = 271828183';
        CREATE TABLE hopeless (n int NOT NULL, CONSTRAINT only_one CHECK (never(n)));
        CREATE DOMAIN rare AS int CHECK (never(VALUE));
        CREATE TABLE domains (r rare NOT NULL);
        CREATE TABLE parts (n int NOT NULL) PARTITION BY LIST ((n / 3));
        CREATE TABLE part PARTITION OF parts FOR VALUES IN (90909090);";
    let mut conn = server.database("hopeless", schema).await;
    for (table, part, expression) in [
        ("hopeless", "constraint `only_one`", "never(n)"),
        ("domains", "domain `rare` of column `r`", "never(VALUE)"),
        ("parts", "the partitioning", "90909090"),
    ] {
        let others = ["hopeless", "domains", "parts"]
            .into_iter()
            .filter(|other| *other != table);
        let seeder = others.fold(Seeder::new(1).rows(700), |seeder, other| seeder.skip(other));
        let error = seeder.fill(&mut conn).await.unwrap_err();
        assert!(
            matches!(&error, SeedError::CannotFill { part: named, message, sqlstate, .. }
                if named == part && message.contains(expression) && sqlstate == "23514"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn partitions_three_deep_with_keys_are_filled() {
    let server = Server::start().await;
    let schema = "
        CREATE TABLE owners (id int PRIMARY KEY);
        CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, owner int NOT NULL REFERENCES owners, kind text NOT NULL, day date NOT NULL,
          half int GENERATED ALWAYS AS (owner / 2) STORED, PRIMARY KEY (kind, day, id)) PARTITION BY LIST (kind);
        CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('a', 'b') PARTITION BY RANGE (day);
        CREATE TABLE events_a_23 PARTITION OF events_a FOR VALUES FROM ('2023-01-01') TO ('2024-01-01') PARTITION BY HASH (id);
        CREATE TABLE events_a_23_0 PARTITION OF events_a_23 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE events_a_23_1 PARTITION OF events_a_23 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE events_a_24 PARTITION OF events_a FOR VALUES FROM ('2024-01-01') TO (MAXVALUE) PARTITION BY LIST (kind);
        CREATE TABLE events_a_24_b PARTITION OF events_a_24 FOR VALUES IN ('b');
        CREATE TABLE events_a_24_rest PARTITION OF events_a_24 DEFAULT;
        CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY HASH (day);
        CREATE TABLE events_rest_0 PARTITION OF events_rest FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TABLE notes (id serial PRIMARY KEY, kind text, day date, event bigint, text text,
          FOREIGN KEY (kind, day, event) REFERENCES events);
        CREATE TABLE of_part (id serial PRIMARY KEY, kind text NOT NULL, day date NOT NULL, event bigint NOT NULL, FOREIGN KEY (kind, day, event) REFERENCES events_a);";
    let mut conn = server.database("deep", schema).await;
    let seeder = Seeder::new(5).rows(200);
    all_full(&seeder.fill(&mut conn).await.unwrap());
    all_full(&seeder.rows(40).write(&mut conn).await.unwrap());
    for leaf in [
        "events_a_23_0",
        "events_a_23_1",
        "events_a_24_b",
        "events_a_24_rest",
        "events_rest_0",
    ] {
        assert!(
            number(&mut conn, &format!("SELECT count(*) FROM {leaf}")).await > 3,
            "{leaf}"
        );
    }
}

#[tokio::test]
async fn triggers_that_rewrite_reject_and_drop_rows() {
    let server = Server::start().await;
    let schema = "
        CREATE SCHEMA app;
        CREATE FUNCTION app.\"Stamp it\"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := abs(NEW.n % 1000); RETURN NEW; END $$;
        CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed since %', 1999; END $$;
        CREATE FUNCTION app.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE FUNCTION app.route() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO old_child VALUES (NEW.*); RETURN NULL; END $$;
        CREATE TABLE rewritten (n int NOT NULL CHECK (n BETWEEN 0 AND 999));
        CREATE TRIGGER stamp BEFORE INSERT ON rewritten FOR EACH ROW EXECUTE FUNCTION app.\"Stamp it\"();
        CREATE TABLE old_parent (n int); CREATE TABLE old_child () INHERITS (old_parent);
        CREATE TRIGGER route BEFORE INSERT ON old_parent FOR EACH ROW EXECUTE FUNCTION app.route();
        CREATE TABLE closed (n int);
        CREATE TRIGGER \"keep closed\" BEFORE INSERT ON closed FOR EACH ROW EXECUTE FUNCTION app.refuse();
        CREATE TABLE hole (n int);
        CREATE TRIGGER into_the_void BEFORE INSERT ON hole FOR EACH ROW EXECUTE FUNCTION app.swallow();";
    let mut conn = server.database("triggers", schema).await;
    let seeder = || Seeder::new(6).rows(40);
    let report = seeder()
        .skip("closed")
        .skip("hole")
        .fill(&mut conn)
        .await
        .unwrap();
    assert_eq!(
        report.table("public.rewritten").unwrap().inserted,
        40,
        "{report}"
    );
    assert_eq!(
        report.table("public.old_parent").unwrap().inserted,
        40,
        "{report}"
    );
    assert_eq!(
        number(&mut conn, "SELECT count(*) FROM ONLY old_parent").await,
        0
    );
    let error = seeder()
        .skip("hole")
        .fill(&mut conn)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`public.closed`: trigger `keep closed` (function `refuse`) refused")
            && error.contains("closed since 1999"),
        "{error}"
    );
    let error = seeder()
        .skip("closed")
        .fill(&mut conn)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("trigger `into_the_void`")
            && error.contains("40 rows were taken and not kept"),
        "{error}"
    );
}
