alter table books add column published_at timestamp;
