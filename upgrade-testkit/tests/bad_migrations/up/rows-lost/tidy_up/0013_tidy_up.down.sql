alter table lines drop constraint lines_small;
