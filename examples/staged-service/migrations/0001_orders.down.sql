drop table receipts;
drop table outbox;
drop table orders;
