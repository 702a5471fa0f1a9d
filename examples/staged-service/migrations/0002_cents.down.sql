-- Nothing is lost: `total` and `labels` have held all of it from the beginning.
set local lock_timeout = '2s';

drop trigger of_both_releases on orders;
drop function orders_of_both_releases();
alter table orders drop column channel, drop column total_cents;
