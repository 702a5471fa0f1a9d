alter table lines alter column sku type varchar(40);
