drop index orders_one_each;
