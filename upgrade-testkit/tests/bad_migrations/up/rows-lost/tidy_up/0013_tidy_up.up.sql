delete from lines where quantity > 2;
alter table lines add constraint lines_small check (quantity <= 2);
