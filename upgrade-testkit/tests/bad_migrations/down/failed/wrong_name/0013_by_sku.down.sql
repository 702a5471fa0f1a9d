-- Postgres would have called it so.
drop index lines_sku_idx;
