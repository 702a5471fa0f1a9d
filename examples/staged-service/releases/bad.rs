//! Release 2 of the orders service, which turns bad when a file `bad` appears in its working folder: in the
//! way that the variable `BAD` says. Tests have a policy see it.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use staged_service::api::{DESCRIPTION_V2, v1, v2};
use staged_service::service::{PAGE, Release, run};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let how = std::env::var("BAD")?;
    if how == "crash loop" {
        tokio::spawn(async {
            while !is_bad() {
                sleep(Duration::from_millis(20)).await; // poll
            }
            std::process::exit(1);
        });
    }
    run(Release {
        name: "2",
        api: v1().merge(v2()).layer(from_fn(move |request, next| {
            let how = how.clone();
            async move { answer(&how, request, next).await }
        })),
        description: DESCRIPTION_V2,
        page: PAGE.to_owned(),
        work: "select",
    })
    .await
}

fn is_bad() -> bool {
    Path::new("bad").exists()
}

async fn answer(how: &str, request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET;
    match how {
        "errors" if is_bad() => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "slow" if is_bad() => {
            sleep(Duration::from_millis(600)).await;
            next.run(request).await
        }
        "wrong answers" if is_bad() && reads => "{}".into_response(),
        _ => next.run(request).await,
    }
}
