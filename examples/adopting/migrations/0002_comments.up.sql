create table comments (
    id bigint generated always as identity primary key,
    ticket_id bigint not null references tickets,
    said text not null
);
create index comments_ticket_id_idx on comments (ticket_id);
