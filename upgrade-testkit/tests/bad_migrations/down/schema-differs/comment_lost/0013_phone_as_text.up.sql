alter table customers add column phone_text text;
update customers set phone_text = phone;
alter table customers drop column phone;
alter table customers rename column phone_text to phone;
