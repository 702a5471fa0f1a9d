-- What is there only since 15.
CREATE PUBLICATION part_of_it FOR TABLES IN SCHEMA shop, TABLE shop.customers WHERE (id > 10);
