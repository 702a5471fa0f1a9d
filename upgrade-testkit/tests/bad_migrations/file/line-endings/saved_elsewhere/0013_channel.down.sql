alter table orders drop column is_gift;
alter table orders drop column channel;
