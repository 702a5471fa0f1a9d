-- Everything up to the first space is the first name; the rest, if any, is the last name. Both
-- stay nullable until 0012: the previous version of the service does not know them. Together they
-- are never longer than a full name may be, so that 0012 can be reverted.
alter table customers
    add column first_name text,
    add column last_name text,
    add constraint customers_name_check
        check (length(first_name || coalesce(' ' || last_name, '')) between 1 and 200),
    add constraint customers_first_name_check check (first_name is not null or last_name is null);

update customers
set first_name = split_part(full_name, ' ', 1),
    last_name = case
        when position(' ' in full_name) > 0
        then substr(full_name, position(' ' in full_name) + 1)
    end;
