alter table shops add column owner text;
