create table sessions (
    token uuid primary key,
    account_id bigint not null references accounts (id) on delete cascade,
    expires_at timestamptz not null
);
create index sessions_account_id_idx on sessions (account_id);
