alter table books drop column author_id;
drop table authors;
