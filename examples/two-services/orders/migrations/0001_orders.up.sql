create table customers (
    id bigint generated always as identity primary key,
    email text not null unique
);

create table orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers (id),
    total numeric(12, 2) not null check (total >= 0),
    placed_at timestamptz not null default now()
);
