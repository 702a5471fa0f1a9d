alter table customers
    drop column first_name,
    drop column last_name;
