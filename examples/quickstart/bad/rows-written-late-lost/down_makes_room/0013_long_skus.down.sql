delete from lines where length(sku) > 40;
alter table lines alter column sku type varchar(40);
