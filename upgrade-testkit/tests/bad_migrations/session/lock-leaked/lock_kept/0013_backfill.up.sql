-- Only one process at a time.
select pg_advisory_lock(4711);
alter table orders add column channel text;
