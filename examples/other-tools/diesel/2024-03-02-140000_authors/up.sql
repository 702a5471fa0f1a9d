create table authors (id serial primary key, name varchar not null);
alter table books add column author_id integer references authors (id);
create index books_author_id_idx on books (author_id);
