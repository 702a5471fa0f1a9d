-- Expand: release 1 goes on with `total` and `labels`, release 2 has `total_cents` and `channel`.
-- Both see what the other one writes.
set local lock_timeout = '2s';

alter table orders add column total_cents bigint, add column channel text;

create function orders_of_both_releases() returns trigger language plpgsql as $$
begin
    if new.total_cents is null then
        -- Release 1 writes.
        new.total_cents := round(new.total * 100);
        new.channel := new.labels ->> 'channel';
    else
        new.total := new.total_cents / 100.0;
        if new.channel is not null then
            new.labels := new.labels || jsonb_build_object('channel', new.channel);
        end if;
    end if;
    return new;
end
$$;

create trigger of_both_releases before insert or update on orders
    for each row execute function orders_of_both_releases();
