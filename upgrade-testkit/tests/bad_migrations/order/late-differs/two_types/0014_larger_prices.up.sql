alter table lines alter column price type numeric(18, 2);
