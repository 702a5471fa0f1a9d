drop index lines_by_price;
drop index lines_by_sku;
