drop index comments_ticket_id_idx;
alter table comments add column said_by text;
create index comments_ticket_said_by_idx on comments (ticket_id, said_by);
