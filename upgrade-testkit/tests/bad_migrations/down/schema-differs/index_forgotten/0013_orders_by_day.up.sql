drop index orders_customer_id_idx;
create index orders_by_day on orders (customer_id, (placed_at at time zone 'UTC'));
