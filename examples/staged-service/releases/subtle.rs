//! Release 2 of the orders service with defects that no unit test has caught. The second argument names those
//! that it has, separated by commas. Tests find each.

use std::error::Error;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use staged_service::api::{DESCRIPTION_V2, v1, v2};
use staged_service::service::{Release, run};

/// How much longer a request takes, as a share of its time.
const SLOWER: f64 = 0.15;
/// How large a body may be.
const BODY: usize = 16 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let breaks = std::env::args().nth(2).unwrap_or_default();
    let has = |defect: &str| breaks.split(',').any(|one| one == defect);
    let (of_type, of_enum, slow) = (has("type"), has("enum"), has("slow"));
    let dies = has("dies");
    let changed = from_fn(move |request: Request, next: Next| async move {
        let began = Instant::now();
        let path = request.uri().path().to_owned();
        if dies && path == "/v1/orders" {
            std::process::exit(3);
        }
        let mut response = next.run(request).await;
        if of_type && path == "/v1/orders" {
            // `total` as a number, in lists only.
            response = replaced(response, totals_as_numbers).await;
        }
        if of_enum && path.ends_with("/receipt") {
            response = replaced(response, |text| text.replace("\"printed\"", "\"done\"")).await;
        }
        if slow {
            let until = began.elapsed().mul_f64(1.0 + SLOWER);
            while began.elapsed() < until {
                std::hint::spin_loop();
            }
        }
        response
    });
    run(Release {
        name: "2",
        api: v1().merge(v2()).layer(changed),
        description: DESCRIPTION_V2,
        page: match has("button") {
            true => staged_service::service::PAGE.replace(r#"addEventListener("click""#, r#"addEventListener("clicks""#),
            false => staged_service::service::PAGE.to_owned(),
        },
        work: match has("worker") {
            // One job in a thousand is taken and not done.
            true => "with taken as (
                    delete from outbox where id in
                        (select id from outbox order by id limit 50 for update skip locked)
                    returning id, order_id)
                insert into receipts (order_id, line)
                select orders.id, format('%s: %s cents, %s', customer, total_cents, coalesce(channel, 'shop'))
                from taken join orders on orders.id = order_id where taken.id % 1000 <> 500
                on conflict (order_id) do update set times = receipts.times + 1",
            false => staged_service::service::WORK_V2,
        },
    })
    .await
}

/// A response with another body.
async fn replaced(response: Response, change: impl FnOnce(&str) -> String) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, BODY).await else {
        return Response::from_parts(head, Body::empty());
    };
    let changed = change(&String::from_utf8_lossy(&bytes));
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(changed))
}

fn totals_as_numbers(text: &str) -> String {
    let mut changed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\"total\":\"") {
        let (before, value) = rest.split_at(at + "\"total\":".len());
        changed.push_str(before);
        let value = &value[1..];
        let end = value.find('"').unwrap_or(value.len());
        changed.push_str(&value[..end]);
        rest = value.get(end + 1..).unwrap_or_default();
    }
    changed + rest
}
