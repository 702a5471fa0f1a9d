alter table orders add column is_gift boolean not null default false;
