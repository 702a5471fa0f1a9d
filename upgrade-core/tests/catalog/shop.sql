-- Something of every kind, for servers from 14 on. The roles are made with the server.
CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS 'what we sell';
GRANT USAGE ON SCHEMA shop TO app;
CREATE COLLATION shop.plain (provider = libc, locale = 'C');
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE shop.address AS (street text, zip varchar(10));
CREATE DOMAIN shop.email AS text DEFAULT 'none@example.org' CONSTRAINT email_at CHECK (VALUE LIKE '%@%');
CREATE DOMAIN shop.code AS int NOT NULL;
CREATE TYPE shop.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE SEQUENCE shop.tickets START 100 INCREMENT 10;

CREATE TABLE shop.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE shop.plain,
    email shop.email UNIQUE,
    born timestamptz DEFAULT '2020-01-01 00:00:00+00',
    pause interval DEFAULT '1 day 02:00:00',
    feeling shop.mood DEFAULT 'ok',
    home shop.address,
    initial text GENERATED ALWAYS AS (substr(name, 1, 1)) STORED
);
CREATE TABLE shop.orders (
    id serial PRIMARY KEY,
    customer bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
    total numeric(10,2) NOT NULL DEFAULT 0 CONSTRAINT orders_total_check CHECK (total >= 0),
    state varchar(20) NOT NULL,
    note text,
    during tstzrange
);
ALTER TABLE shop.orders ALTER total SET STATISTICS 500;
ALTER TABLE shop.orders ALTER total SET (n_distinct = 50);
ALTER TABLE shop.orders ADD CONSTRAINT orders_state_check CHECK (state <> '') NOT VALID;
ALTER TABLE shop.orders ADD CONSTRAINT orders_note_key UNIQUE (note) DEFERRABLE;
ALTER TABLE shop.orders ADD CONSTRAINT orders_during_excl EXCLUDE USING gist (during WITH &&);
COMMENT ON COLUMN shop.orders.total IS 'in euro';
COMMENT ON CONSTRAINT orders_total_check ON shop.orders IS 'no credit';
GRANT SELECT, UPDATE ON shop.orders TO app;
GRANT UPDATE (total) ON shop.orders TO auditor;
CREATE INDEX orders_total_idx ON shop.orders (total DESC) INCLUDE (state) WHERE total > 100;
CREATE INDEX orders_lower_idx ON shop.orders (lower(state));
COMMENT ON INDEX shop.orders_total_idx IS 'for the report';
CREATE STATISTICS shop.orders_stats (dependencies) ON total, state FROM shop.orders;

CREATE TABLE shop.notes (id serial, body text);
COMMENT ON TABLE shop.notes IS 'free text';
GRANT ALL ON shop.notes TO app;

CREATE VIEW shop.big_orders AS SELECT o.id, o.total FROM shop.orders o WHERE o.total > 1000;
CREATE VIEW shop.joined AS
    SELECT c.name, count(*) AS orders, sum(o.total) AS total
    FROM shop.customers c JOIN shop.orders o ON o.customer = c.id
    WHERE EXISTS (SELECT 1 FROM shop.notes n WHERE n.id = o.id)
    GROUP BY c.name HAVING count(*) > 1 ORDER BY c.name;
CREATE VIEW shop.recent AS
    WITH x AS (SELECT id, customer FROM shop.orders WHERE id > 10)
    SELECT x.id, (SELECT max(c.name) FROM shop.customers c WHERE c.id = x.customer) AS name FROM x;
CREATE VIEW shop.both_ AS SELECT id FROM shop.orders UNION ALL SELECT id FROM shop.notes;
CREATE VIEW shop.states AS SELECT state, count(*) AS n, row_number() OVER (ORDER BY state) AS r
    FROM shop.orders GROUP BY state;
CREATE MATERIALIZED VIEW shop.totals AS SELECT customer, sum(total) AS total FROM shop.orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON shop.totals (customer);

CREATE FUNCTION shop.twice(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql IMMUTABLE AS 'select a * b';
CREATE FUNCTION shop.atomic(x integer) RETURNS bigint LANGUAGE sql
    BEGIN ATOMIC SELECT count(*) FROM shop.orders WHERE id > x; END;
COMMENT ON FUNCTION shop.twice(integer, integer) IS 'doubles';
GRANT EXECUTE ON FUNCTION shop.twice(integer, integer) TO app;
CREATE PROCEDURE shop.clean(IN days integer) LANGUAGE sql AS 'delete from shop.notes';
CREATE AGGREGATE shop.add_up(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE FUNCTION shop.touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER orders_touched BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touched();
CREATE RULE notes_keep AS ON DELETE TO shop.notes DO INSTEAD NOTHING;
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON shop.customers FOR SELECT TO app USING (name = current_user);

CREATE TABLE shop.events (id bigint NOT NULL, at date NOT NULL, order_id int REFERENCES shop.orders, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE shop.events_2024 PARTITION OF shop.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.events_rest PARTITION OF shop.events DEFAULT;
CREATE INDEX events_at ON shop.events (at);
CREATE TRIGGER events_touched AFTER INSERT ON shop.events FOR EACH ROW EXECUTE FUNCTION shop.touched();
CREATE TABLE shop.event_notes (event bigint, at date, note text, FOREIGN KEY (event, at) REFERENCES shop.events);
CREATE UNLOGGED TABLE shop.cache (key text PRIMARY KEY, value jsonb) WITH (fillfactor = 70, autovacuum_enabled = off);
CREATE TABLE shop.parent (a int CHECK (a > 0), b text);
CREATE TABLE shop.child (c int) INHERITS (shop.parent);

CREATE TYPE shop.grams;
CREATE FUNCTION shop.grams_in(cstring) RETURNS shop.grams LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION shop.grams_out(shop.grams) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE shop.grams (INPUT = shop.grams_in, OUTPUT = shop.grams_out, LIKE = integer, CATEGORY = 'N');
CREATE FUNCTION shop.grams_lt(shop.grams, shop.grams) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4lt';
CREATE FUNCTION shop.grams_gt(shop.grams, shop.grams) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4gt';
CREATE FUNCTION shop.grams_cmp(shop.grams, shop.grams) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE OPERATOR shop.< (FUNCTION = shop.grams_lt, LEFTARG = shop.grams, RIGHTARG = shop.grams, COMMUTATOR = OPERATOR(shop.>),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR shop.> (FUNCTION = shop.grams_gt, LEFTARG = shop.grams, RIGHTARG = shop.grams, COMMUTATOR = OPERATOR(shop.<));
CREATE FUNCTION shop.negated(shop.grams) RETURNS shop.grams LANGUAGE internal IMMUTABLE STRICT AS 'int4um';
CREATE OPERATOR shop.- (FUNCTION = shop.negated, RIGHTARG = shop.grams);
CREATE OPERATOR CLASS shop.grams_order DEFAULT FOR TYPE shop.grams USING btree AS
    OPERATOR 1 shop.<, OPERATOR 5 shop.>, FUNCTION 1 shop.grams_cmp(shop.grams, shop.grams);
CREATE CAST (shop.grams AS integer) WITHOUT FUNCTION;
CREATE FUNCTION shop.heard(shop.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'select 1';
CREATE CAST (shop.mood AS integer) WITH FUNCTION shop.heard(shop.mood) AS ASSIGNMENT;
CREATE TRANSFORM FOR shop.grams LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));

CREATE CONVERSION shop.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH PARSER shop.words (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE shop.plain_words (LEXIZE = dsimple_lexize, INIT = dsimple_init);
CREATE TEXT SEARCH DICTIONARY shop.any_word (TEMPLATE = simple, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION shop.search (PARSER = "default");
ALTER TEXT SEARCH CONFIGURATION shop.search ADD MAPPING FOR asciiword, word WITH shop.any_word, simple;

CREATE FUNCTION shop.pl_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION shop.pl_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE TRUSTED LANGUAGE plshop HANDLER shop.pl_handler INLINE shop.pl_inline;
CREATE ACCESS METHOD shop_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE FOREIGN DATA WRAPPER files OPTIONS (debug 'true');
CREATE SERVER shelf TYPE 'paper' VERSION '1' FOREIGN DATA WRAPPER files OPTIONS (place 'cellar', api_key 'hunter2');
CREATE USER MAPPING FOR app SERVER shelf OPTIONS (login 'bob', password 'hunter2');
CREATE FOREIGN TABLE shop.binders (title text OPTIONS (col '1'), year int) SERVER shelf OPTIONS (row '3');

CREATE FUNCTION shop.watched() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION shop.watched();
CREATE PUBLICATION feed FOR TABLE shop.orders, shop.notes WITH (publish = 'insert, update');
CREATE SUBSCRIPTION replica CONNECTION 'host=nowhere password=hunter2' PUBLICATION feed, other WITH (connect = false, streaming = on);
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET work_mem = ''8MB''', current_database());
    EXECUTE format('ALTER ROLE app IN DATABASE %I SET search_path = shop, public', current_database());
    EXECUTE format('ALTER DATABASE %I SET shop.jwt_secret = ''hunter2''', current_database());
END $$;
INSERT INTO pg_seclabel SELECT 'shop.notes'::regclass, 'pg_class'::regclass, 0, 'dummy', 'secret';
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO app;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
-- An extension that was made after the server, since not every server brings one along.
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    VALUES (16000000, 'pretended', 'postgres'::regrole, 'shop'::regnamespace, false, '1.0');
