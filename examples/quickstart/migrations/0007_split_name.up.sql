-- Everything up to the first space is the first name; the rest, if any, is the last name.
alter table customers
    add column first_name text,
    add column last_name text;

update customers
set first_name = split_part(full_name, ' ', 1),
    last_name = case
        when position(' ' in full_name) > 0
        then substr(full_name, position(' ' in full_name) + 1)
    end;

alter table customers alter column first_name set not null;
