create index order_events_by_order on only order_events (order_id);
create index order_events_2026_by_order on order_events_2026 (order_id);
alter index order_events_by_order attach partition order_events_2026_by_order;
