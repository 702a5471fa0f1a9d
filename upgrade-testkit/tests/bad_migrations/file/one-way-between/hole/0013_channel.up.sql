alter table orders add column channel text;
