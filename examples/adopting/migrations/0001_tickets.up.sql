create table tickets (
    id bigint generated always as identity primary key,
    title text not null,
    state text not null default 'open' check (state in ('open', 'closed')),
    opened_at timestamptz not null default now()
);
