create table addresses (customer_id bigint primary key references customers (id), email text not null);
insert into addresses select id, contact_email from customers;
drop view customer_totals;
