drop view open_invoices;
drop table payments;
