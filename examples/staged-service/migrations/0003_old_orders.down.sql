-- The columns go with 0002.
select 1;
