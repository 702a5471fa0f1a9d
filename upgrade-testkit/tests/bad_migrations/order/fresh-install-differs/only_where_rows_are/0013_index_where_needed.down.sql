drop index if exists lines_by_sku;
