create table customers (
    id bigint generated always as identity primary key,
    email text not null,
    full_name text not null check (length(full_name) between 1 and 200),
    created_at timestamptz not null default now(),
    constraint customers_email_key unique (email)
);
comment on table customers is 'Everyone who ever placed an order';
