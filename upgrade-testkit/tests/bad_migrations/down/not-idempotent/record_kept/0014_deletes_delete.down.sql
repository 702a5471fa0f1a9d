-- Every table, to forget none. One of them is the record of the tool.
do $$
declare
    item name;
begin
    for item in
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
    loop
        execute format(
            'create trigger keep_rows before delete on %I for each row execute function keep_rows()',
            item
        );
    end loop;
end
$$;
