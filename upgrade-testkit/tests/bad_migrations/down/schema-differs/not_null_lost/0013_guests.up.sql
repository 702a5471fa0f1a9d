alter table customers
    alter column email drop not null,
    alter column first_name drop not null;
