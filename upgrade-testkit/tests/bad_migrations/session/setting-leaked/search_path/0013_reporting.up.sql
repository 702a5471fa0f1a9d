create schema reporting;
set search_path to reporting, public;
create table monthly (month date primary key, total numeric not null);
