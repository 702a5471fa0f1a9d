drop view customer_totals;
create view customer_totals as
select c.id, c.contact_email, o.currency, count(o.id) as orders, coalesce(sum(o.total), 0) as total
from customers c
left join orders o on o.customer_id = c.id
group by c.id, c.contact_email, o.currency;
comment on view customer_totals is 'One row for every customer and currency';
grant select on customer_totals to public;
