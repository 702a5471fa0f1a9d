create schema if not exists shop;
alter table if exists public.order_events set schema shop;

-- Everybody finds it there. Nobody finds anything in `public` any more, the record of the tool
-- included.
do $$
begin
    execute format('alter database %I set search_path to shop', current_database());
end
$$;
