alter table shops drop column owner;
