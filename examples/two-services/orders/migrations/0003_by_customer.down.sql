drop index orders_by_customer;
