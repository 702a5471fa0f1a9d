create table labels (ticket_id bigint not null references tickets, label text not null);
create index labels_ticket_id_idx on labels (ticket_id);
