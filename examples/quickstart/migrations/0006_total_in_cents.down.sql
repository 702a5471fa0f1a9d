alter table orders drop column total_cents;
