alter table orders alter column status set default 'paid';
