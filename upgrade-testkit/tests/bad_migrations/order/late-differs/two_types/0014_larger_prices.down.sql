alter table lines alter column price type numeric(14, 4);
