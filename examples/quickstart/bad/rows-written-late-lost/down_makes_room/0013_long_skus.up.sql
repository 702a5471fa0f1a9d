alter table lines alter column sku type text;
