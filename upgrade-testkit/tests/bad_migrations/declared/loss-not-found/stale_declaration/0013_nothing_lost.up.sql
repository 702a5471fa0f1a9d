-- upgrade: loses public.lines: those without an order
delete from lines where order_id not in (select id from orders);
