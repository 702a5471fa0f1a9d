select 1 from orders limit 1;
