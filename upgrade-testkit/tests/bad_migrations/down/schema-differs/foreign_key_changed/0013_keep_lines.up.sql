alter table lines
    drop constraint lines_order_id_fkey,
    add constraint lines_order_id_fkey foreign key (order_id) references orders (id);
