drop view customer_totals;
create view customer_totals as
select c.id, c.contact_email, count(o.id) as orders, coalesce(sum(o.total), 0) as total
from customers c
left join orders o on o.customer_id = c.id
group by c.id, c.contact_email;
comment on view customer_totals is 'One row for every customer, with or without orders';
