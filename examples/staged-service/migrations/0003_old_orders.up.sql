-- The orders from before the columns were there; the trigger fills them.
update orders set total_cents = null where total_cents is null;
