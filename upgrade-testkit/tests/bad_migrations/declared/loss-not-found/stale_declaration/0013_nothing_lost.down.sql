select 1 from lines limit 1;
