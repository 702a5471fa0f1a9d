create table order_events (
    order_id bigint not null,
    happened_at timestamptz not null,
    kind text not null,
    detail jsonb not null default '{}',
    primary key (order_id, happened_at)
) partition by range (happened_at);

create table order_events_past partition of order_events
    for values from (minvalue) to ('2026-01-01 00:00:00+00');
create table order_events_2026 partition of order_events
    for values from ('2026-01-01 00:00:00+00') to ('2027-01-01 00:00:00+00');
create table order_events_later partition of order_events default;

create index order_events_kind_idx on order_events (kind);

insert into order_events (order_id, happened_at, kind)
select id, placed_at, 'placed' from orders;
