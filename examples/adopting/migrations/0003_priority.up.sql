alter table tickets add column priority int not null default 3;
