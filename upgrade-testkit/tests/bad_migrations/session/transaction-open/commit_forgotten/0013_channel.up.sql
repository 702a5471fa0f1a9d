-- no-transaction
-- A separate transaction: the wait for the lock has to be short.
begin;
set local lock_timeout = '2s';
alter table orders add column channel text;
