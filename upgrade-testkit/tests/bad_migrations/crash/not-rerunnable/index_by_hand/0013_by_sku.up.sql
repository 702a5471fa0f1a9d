-- no-transaction
create index concurrently lines_by_sku on lines (sku);
