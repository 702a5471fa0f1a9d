alter table lines add column note text;
alter table orders add column channel text not null;
