drop index lines_by_sku;
