create table orders (
    id text collate "C" primary key,
    customer text not null,
    total numeric(12, 2) not null,
    -- Whatever else a client wants to keep with an order.
    labels jsonb not null default '{}',
    placed_at timestamptz not null default now()
);

-- The jobs of the worker, written together with the order.
create table outbox (
    id bigint generated always as identity primary key,
    order_id text collate "C" not null references orders
);

-- What the worker has done. `times` tells a job that was done twice.
create table receipts (
    order_id text collate "C" primary key references orders,
    line text not null,
    times int not null default 1
);
