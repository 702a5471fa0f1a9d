-- Every article has a number today.
alter table lines
    alter column sku type integer using sku::integer;
