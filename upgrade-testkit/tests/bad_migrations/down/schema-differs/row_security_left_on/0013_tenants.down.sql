drop policy orders_of_the_tenant on orders;
