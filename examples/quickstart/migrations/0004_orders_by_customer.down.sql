-- no-transaction
drop index concurrently orders_customer_id_idx;
