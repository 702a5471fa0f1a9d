alter table lines alter column price type numeric(12, 2);
