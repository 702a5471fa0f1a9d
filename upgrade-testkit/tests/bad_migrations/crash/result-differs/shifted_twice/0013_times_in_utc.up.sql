-- no-transaction
update customers set created_at = created_at - interval '1 hour';
