-- Second half of the split. Customers that the previous version has added since 0007 come first.
-- upgrade: loses public.customers.full_name: first_name and last_name hold it now
update customers
set first_name = split_part(full_name, ' ', 1),
    last_name = case
        when position(' ' in full_name) > 0
        then substr(full_name, position(' ' in full_name) + 1)
    end
where first_name is null;

alter table customers alter column first_name set not null;
alter table customers drop column full_name;
