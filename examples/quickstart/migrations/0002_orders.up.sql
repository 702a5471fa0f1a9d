create table orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers (id),
    status text not null default 'new' check (status in ('new', 'paid', 'shipped')),
    total numeric(12, 2) not null check (total >= 0),
    placed_at timestamptz not null default now()
);

create table lines (
    order_id bigint not null references orders (id) on delete cascade,
    position integer not null check (position > 0),
    sku varchar(40) not null,
    quantity integer not null check (quantity between 1 and 1000),
    price numeric(12, 2) not null check (price >= 0),
    primary key (order_id, position)
);
