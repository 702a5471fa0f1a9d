//! Release 2 of the orders service.

use std::error::Error;

use staged_service::api::{v1, v2};
use staged_service::service::{Release, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Release {
        name: "2",
        // Clients of release 1 are not asked to change on the same day.
        api: v1().merge(v2()),
        work: "with taken as (
                delete from outbox where id in
                    (select id from outbox order by id limit 50 for update skip locked)
                returning order_id)
            insert into receipts (order_id, line)
            select id, format('%s: %s cents, %s', customer, total_cents, coalesce(channel, 'shop'))
            from taken join orders on id = order_id
            on conflict (order_id) do update set times = receipts.times + 1",
    })
    .await
}
