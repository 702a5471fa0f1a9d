alter table customers add column phone_short varchar(30);
update customers set phone_short = left(phone, 30);
alter table customers drop column phone;
alter table customers rename column phone_short to phone;
