alter table customers alter column first_name drop not null;
alter table customers add column full_name text;

update customers
set full_name = case when last_name is null then first_name else first_name || ' ' || last_name end;

alter table customers
    alter column full_name set not null,
    add constraint customers_full_name_check check (length(full_name) between 1 and 200);
