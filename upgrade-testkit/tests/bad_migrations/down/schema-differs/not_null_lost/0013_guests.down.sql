update customers set first_name = 'guest' where first_name is null;
alter table customers alter column first_name set not null;
