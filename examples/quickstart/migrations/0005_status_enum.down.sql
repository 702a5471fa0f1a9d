alter table orders
    alter column status drop default,
    alter column status type text using status::text,
    alter column status set default 'new',
    add constraint orders_status_check check (status in ('new', 'paid', 'shipped'));

drop type order_status;
