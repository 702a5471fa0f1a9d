alter table lines drop column discount;
