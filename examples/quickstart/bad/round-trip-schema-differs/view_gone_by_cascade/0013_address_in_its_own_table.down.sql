drop table addresses cascade;
