alter table customers add column phone varchar(30);
comment on column customers.phone is 'As the customer typed it';
