alter table orders add column channel text;
alter table orders add column is_gift boolean;
