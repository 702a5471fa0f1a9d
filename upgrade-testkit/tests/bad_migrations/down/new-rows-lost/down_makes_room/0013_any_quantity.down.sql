delete from lines where quantity not between 1 and 1000;
alter table lines add constraint lines_quantity_check check (quantity between 1 and 1000);
