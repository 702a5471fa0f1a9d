-- The migration begins after the reader of the case has read: it waits for the reader's advisory
-- lock, a minute at most.
create function wait_for_reader() returns event_trigger language plpgsql as $$
begin
    for attempt in 1 .. 6000 loop
        exit when exists (select from pg_locks where locktype = 'advisory' and objid = 4711
            and database = (select oid from pg_database where datname = current_database()));
        perform pg_sleep(0.01);
    end loop;
end $$;
create event trigger wait_for_reader on ddl_command_start when tag in ('ALTER TABLE')
    execute function wait_for_reader();
