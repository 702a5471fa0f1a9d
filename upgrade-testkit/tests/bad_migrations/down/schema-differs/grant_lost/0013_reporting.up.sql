grant select on customer_totals to public;
