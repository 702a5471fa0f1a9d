create table books (
    id serial primary key,
    title varchar not null,
    published boolean not null default false
);
