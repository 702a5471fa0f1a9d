create index lines_by_sku on lines (sku);
