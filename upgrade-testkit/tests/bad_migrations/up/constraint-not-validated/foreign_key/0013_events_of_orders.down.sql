alter table lines drop constraint lines_price_sane;
