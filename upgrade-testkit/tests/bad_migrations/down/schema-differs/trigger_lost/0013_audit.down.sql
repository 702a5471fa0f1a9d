drop trigger orders_audit on orders;
drop function audit_order();
