alter table tickets add column due date;
