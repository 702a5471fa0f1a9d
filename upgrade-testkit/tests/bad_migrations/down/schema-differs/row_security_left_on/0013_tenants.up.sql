alter table orders enable row level security;
create policy orders_of_the_tenant on orders
    using (customer_id = current_setting('shop.customer', true)::bigint);
