-- The trigger would touch every row.
alter table orders disable trigger orders_touch_updated_at;
alter table orders add column discount numeric(12, 2) not null default 0;
