-- upgrade: changes public.lines.price: what is cut off is the discount
alter table lines add column discount numeric(12, 2) not null default 0;
update lines set discount = price - trunc(price), price = trunc(price);
