alter table customers drop column phone;
