create table invoices (
    id bigint generated always as identity primary key,
    -- An order of the other service: no foreign key reaches its database.
    order_id bigint not null unique,
    amount numeric(12, 2) not null,
    written_at timestamptz not null default now()
);
