//! Release 2 of the orders service.

use std::error::Error;

use staged_service::api::{DESCRIPTION_V2, v1, v2};
use staged_service::service::{PAGE, Release, WORK_V2, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Release {
        name: "2",
        // Clients of release 1 are not asked to change on the same day.
        api: v1().merge(v2()),
        description: DESCRIPTION_V2,
        page: PAGE.to_owned(),
        work: WORK_V2,
    })
    .await
}
