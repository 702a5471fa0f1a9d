-- Until the archive is there, nobody deletes an order.
create function keep_rows() returns trigger
language plpgsql as $$
begin
    return null;
end
$$;
create trigger keep_rows before delete on orders
    for each row execute function keep_rows();
create trigger keep_rows before delete on lines
    for each row execute function keep_rows();
