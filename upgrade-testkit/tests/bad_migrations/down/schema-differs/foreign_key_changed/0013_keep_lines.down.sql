alter table lines drop constraint lines_order_id_fkey;
alter table lines add foreign key (order_id) references orders (id);
