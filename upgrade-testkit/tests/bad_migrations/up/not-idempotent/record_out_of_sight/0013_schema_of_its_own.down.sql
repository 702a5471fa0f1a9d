do $$
begin
    execute format('alter database %I reset search_path', current_database());
end
$$;
alter table shop.order_events set schema public;
drop schema shop;
