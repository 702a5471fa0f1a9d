do $$
begin
    if exists (select from lines) then
        create index lines_by_sku on lines (sku);
    end if;
end
$$;
