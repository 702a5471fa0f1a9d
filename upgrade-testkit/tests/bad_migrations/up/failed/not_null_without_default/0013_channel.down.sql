alter table orders drop column channel;
alter table lines drop column note;
