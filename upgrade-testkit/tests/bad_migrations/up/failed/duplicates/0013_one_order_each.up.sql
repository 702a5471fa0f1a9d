create unique index orders_one_each on orders (currency);
