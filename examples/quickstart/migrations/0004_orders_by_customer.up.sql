-- In a transaction, which locks out writers while the index is built, and leaves nothing when it is
-- interrupted. `concurrently` is the other way round; on this table the lock is short.
create index orders_customer_id_idx on orders (customer_id, placed_at desc);
