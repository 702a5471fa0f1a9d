alter table books drop column published_at;
