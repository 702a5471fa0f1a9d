alter table lines drop constraint lines_quantity_sane;
