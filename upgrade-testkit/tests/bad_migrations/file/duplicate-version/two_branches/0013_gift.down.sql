alter table orders drop column is_gift;
