alter table lines add constraint lines_quantity_check check (quantity between 1 and 1000);
