-- upgrade: loses public.customers.phone: nobody calls
alter table customers drop column phone;
