drop index order_events_by_order;
