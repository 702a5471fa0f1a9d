//! Release 1 of the orders service.

use std::error::Error;

use staged_service::api::{DESCRIPTION_V1, v1};
use staged_service::service::{PAGE, Release, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Release {
        name: "1",
        api: v1(),
        description: DESCRIPTION_V1,
        page: PAGE.to_owned(),
        work: "with taken as (
                delete from outbox where id in
                    (select id from outbox order by id limit 50 for update skip locked)
                returning order_id)
            insert into receipts (order_id, line)
            select id, customer || ': ' || total from taken join orders on id = order_id
            on conflict (order_id) do update set times = receipts.times + 1",
    })
    .await
}
