revoke select on customer_totals from public;
