create table parcels (
    id bigint generated always as identity primary key,
    order_id bigint not null references orders (id)
);
