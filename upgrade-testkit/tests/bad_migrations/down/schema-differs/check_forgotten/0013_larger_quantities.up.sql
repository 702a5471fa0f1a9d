alter table lines
    drop constraint lines_quantity_check,
    add constraint lines_quantity_sane check (quantity between 1 and 100000);
