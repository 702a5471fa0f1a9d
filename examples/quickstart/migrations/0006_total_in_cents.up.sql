alter table orders add column total_cents bigint;

update orders set total_cents = (total * 100)::bigint;

-- A validated check first: SET NOT NULL then needs no scan of its own.
alter table orders
    add constraint orders_total_cents_set check (total_cents is not null) not valid;
alter table orders validate constraint orders_total_cents_set;
alter table orders alter column total_cents set not null;
alter table orders drop constraint orders_total_cents_set;
