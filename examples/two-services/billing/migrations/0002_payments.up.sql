create table payments (
    id bigint generated always as identity primary key,
    invoice_id bigint not null references invoices (id),
    amount numeric(12, 2) not null,
    received_at timestamptz not null default now()
);

create view open_invoices as
select i.id, i.order_id, i.amount - coalesce(sum(p.amount), 0) as open
from invoices i left join payments p on p.invoice_id = i.id
group by i.id;
