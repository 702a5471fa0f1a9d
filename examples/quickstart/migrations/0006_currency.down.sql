alter table orders drop column currency;
