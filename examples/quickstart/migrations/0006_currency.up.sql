alter table orders add column currency char(3);
alter table orders alter column currency set default 'EUR';

update orders set currency = 'EUR';

-- A validated check first: SET NOT NULL then needs no scan under its own, stronger lock.
alter table orders
    add constraint orders_currency_set check (currency is not null) not valid;
alter table orders validate constraint orders_currency_set;
alter table orders alter column currency set not null;
alter table orders drop constraint orders_currency_set;
