alter table lines
    add constraint lines_price_sane check (price < 1000000) not valid;
