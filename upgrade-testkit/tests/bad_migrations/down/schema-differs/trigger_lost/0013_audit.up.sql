drop trigger orders_touch_updated_at on orders;

create function audit_order() returns trigger
language plpgsql as $$
begin
    new.updated_at := now();
    insert into order_events (order_id, happened_at, kind) values (new.id, clock_timestamp(), 'changed');
    return new;
end
$$;

create trigger orders_audit before update on orders for each row execute function audit_order();
