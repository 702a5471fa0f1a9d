alter table lines alter column sku set statistics -1;
