alter table orders add column currency char(3) not null default 'USD';
