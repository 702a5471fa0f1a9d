CREATE TYPE state AS ENUM ('new', 'paid', 'sent');
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE, made timestamptz NOT NULL DEFAULT now());
CREATE TABLE customers (
  tenant_id uuid NOT NULL REFERENCES tenants, id bigint GENERATED ALWAYS AS IDENTITY,
  email varchar(40) NOT NULL CHECK (email ~ '^[^@]+@[a-z]+\.[a-z]{2,3}$'), referrer_id bigint,
  initials char(2) GENERATED ALWAYS AS (upper(left(email, 2))) STORED, tags state[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email),
  FOREIGN KEY (tenant_id, referrer_id) REFERENCES customers (tenant_id, id));
CREATE TABLE profiles (
  tenant_id uuid, customer_id bigint, bio text, age smallint CHECK (age BETWEEN 18 AND 120),
  PRIMARY KEY (tenant_id, customer_id), FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id));
CREATE TABLE coupons (tenant_id uuid NOT NULL REFERENCES tenants, id serial, percent numeric(5,2) NOT NULL CHECK (percent > 0 AND percent <= 100),
  starts date NOT NULL, ends date NOT NULL, CHECK (starts < ends), PRIMARY KEY (tenant_id, id));
CREATE TABLE orders (
  id bigserial PRIMARY KEY, tenant_id uuid NOT NULL, customer_id bigint NOT NULL, coupon_id int, state state NOT NULL,
  email text, phone text, sent_at timestamptz, meta jsonb NOT NULL CHECK (jsonb_typeof(meta) = 'object'),
  FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
  FOREIGN KEY (tenant_id, coupon_id) REFERENCES coupons (tenant_id, id),
  CHECK (num_nonnulls(email, phone) = 1), CHECK ((state = 'sent') = (sent_at IS NOT NULL)), CHECK (sent_at <= now()));
CREATE TABLE lines (order_id bigint REFERENCES orders ON DELETE CASCADE, position int CHECK (position >= 1), quantity int NOT NULL DEFAULT 1 CHECK (quantity <> 0 AND quantity > -5 AND quantity < 1000),
  kind text NOT NULL CHECK (kind IN ('a', 'b', 'it''s')), note text CHECK (btrim(note) <> ''), PRIMARY KEY (order_id, position));
CREATE UNIQUE INDEX ON lines (lower(note)) WHERE kind = 'a';
