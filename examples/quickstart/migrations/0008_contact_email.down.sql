drop trigger customers_keep_emails_equal on customers;
drop function customers_keep_emails_equal();
alter table customers drop column contact_email;
