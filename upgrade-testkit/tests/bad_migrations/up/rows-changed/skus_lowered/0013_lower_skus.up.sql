update lines set sku = lower(sku) || '-x' where length(sku) < 30;
