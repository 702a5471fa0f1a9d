alter table lines drop constraint lines_quantity_check;
