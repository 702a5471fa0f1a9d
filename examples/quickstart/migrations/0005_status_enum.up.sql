create type order_status as enum ('new', 'paid', 'shipped');

alter table orders
    drop constraint orders_status_check,
    alter column status drop default,
    alter column status type order_status using status::order_status,
    alter column status set default 'new';
