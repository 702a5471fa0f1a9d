update lines set sku = upper(sku);
