-- no-transaction
-- A transaction of its own: the wait for the lock has to be short.
begin;
set local lock_timeout = '2s';
alter table orders add column channel text;
