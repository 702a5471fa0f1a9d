//! What users do with the older release: they fill it, then work with it while their requests are
//! recorded.

use serde_json::{Value, json};
use upgrade_core::http::{Request, Response};
use upgrade_core::replay::Recorded;
use upgrade_core::{Result, UpgradeContext};

use crate::client::{PASSWORD, Users};

/// The records that are there from the beginning.
pub(crate) const ORDERS: &str = "/v1/buckets/shop/collections/orders/records";

fn put(target: &str, body: &Value) -> Request {
    Request::new("PUT", target).with_json(body)
}

fn patch(target: &str, body: &Value) -> Request {
    Request::new("PATCH", target).with_json(body)
}

fn delete(target: &str) -> Request {
    Request::new("DELETE", target)
}

fn account() -> Value {
    json!({"data": {"password": PASSWORD}})
}

/// Two users, a bucket of one of them that the other may read, and records in it.
pub(crate) async fn fill(cx: &UpgradeContext, records: u32) -> Result<()> {
    let mut users = Users::of(cx)?;
    for name in ["alice", "bob"] {
        let target = format!("/v1/accounts/{name}");
        users.succeed("", put(&target, &account())).await?;
    }
    let readable = json!({"permissions": {"read": ["/buckets/shop/groups/clerks"]}});
    let clerks = json!({"data": {"members": ["account:bob"]}});
    for (target, body) in [
        ("/v1/buckets/shop", &readable),
        ("/v1/buckets/shop/groups/clerks", &clerks),
        ("/v1/buckets/shop/collections/orders", &json!({})),
        ("/v1/buckets/shop/collections/visits", &json!({})),
    ] {
        users.succeed("alice", put(target, body)).await?;
    }
    for number in 0..records {
        let state = ["open", "paid", "sent"][number as usize % 3];
        let order = json!({"data": {
            "customer": format!("customer {}", number % 7), "total": number * 25 % 400,
            "state": state, "address": {"city": "Berlin", "lines": [number, "Main Street"]},
        }});
        let target = format!("{ORDERS}/order-{number:05}");
        users.succeed("alice", put(&target, &order)).await?;
        match number % 10 {
            3 => {
                let paid = json!({"data": {"state": "paid"}});
                users.succeed("alice", patch(&target, &paid)).await?;
            }
            7 => {
                users.succeed("alice", delete(&target)).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A day of the users, recorded. What they have made is removed afterwards, without a record, so
/// that the requests make it again wherever they are replayed.
pub(crate) async fn day(cx: &UpgradeContext) -> Result<Vec<Recorded>> {
    let mut users = Users::of(cx)?;
    accounts(&mut users).await?;
    buckets(&mut users).await?;
    records(&mut users).await?;
    reads(&mut users).await?;
    refusals(&mut users).await?;
    let recorded = users.take_recorded();
    for (user, target) in [
        ("alice", "/v1/buckets/garden"),
        ("alice", "/v1/buckets/default"),
        ("dora", "/v1/accounts/dora"),
    ] {
        users.succeed(user, delete(target)).await?;
    }
    Ok(recorded)
}

async fn accounts(users: &mut Users<'_>) -> Result<()> {
    users.succeed("", Request::get("/v1/")).await?;
    let target = "/v1/accounts/dora";
    users.succeed("", put(target, &account())).await?;
    users.succeed("dora", Request::get("/v1/")).await?;
    users.succeed("dora", Request::get(target)).await?;
    users.succeed("dora", Request::get("/v1/accounts")).await?;
    Ok(())
}

async fn buckets(users: &mut Users<'_>) -> Result<()> {
    let bucket = "/v1/buckets/garden";
    let shared = json!({"data": {"title": "Garden"}, "permissions": {"write": ["account:dora"]}});
    let plants = json!({"data": {"order": 1}, "permissions": {"record:create": ["account:bob"]}});
    let helpers = json!({"data": {"members": ["account:bob", "account:dora"]}});
    let more = json!({"data": {"title": "The garden"}, "permissions": {"read": ["/buckets/garden/groups/helpers"]}});
    let collections = format!("{bucket}/collections");
    users.succeed("alice", put(bucket, &shared)).await?;
    users
        .succeed("alice", put(&format!("{collections}/plants"), &plants))
        .await?;
    users
        .succeed("dora", put(&format!("{bucket}/groups/helpers"), &helpers))
        .await?;
    users.succeed("alice", patch(bucket, &more)).await?;
    let tools = Request::post(&collections).with_json(&json!({"data": {"title": "Tools"}}));
    let tools = id_of(&users.succeed("dora", tools).await?);
    let renamed = json!({"data": {"title": "All tools"}});
    for (user, request) in [
        ("dora", Request::get(format!("{collections}/{tools}"))),
        ("dora", put(&format!("{collections}/{tools}"), &renamed)),
        ("bob", Request::get(&collections)),
        ("bob", Request::get(format!("{bucket}/groups"))),
        ("bob", Request::get(format!("{bucket}/groups/helpers"))),
        ("bob", Request::get(bucket)),
        ("dora", delete(&format!("{collections}/{tools}"))),
        ("alice", Request::get("/v1/buckets")),
    ] {
        users.succeed(user, request).await?;
    }
    Ok(())
}

async fn records(users: &mut Users<'_>) -> Result<()> {
    let plants = "/v1/buckets/garden/collections/plants/records";
    for (number, name) in ["rose", "oak", "fern", "moss"].into_iter().enumerate() {
        let plant = json!({"data": {"name": name, "height": number * 10, "tags": ["green", name]}});
        let made = users
            .succeed("bob", Request::post(plants).with_json(&plant))
            .await?;
        let target = format!("{plants}/{}", id_of(&made));
        users.succeed("bob", Request::get(&target)).await?;
        let grown = json!({"data": {"height": 100 + number}});
        users.succeed("bob", patch(&target, &grown)).await?;
        match number {
            0 => {
                let moved = json!([{"op": "add", "path": "/data/place", "value": "north"}]);
                let moved = Request::new("PATCH", &target)
                    .with_header("content-type", "application/json-patch+json")
                    .with_body(moved.to_string());
                users.succeed("bob", moved).await?;
            }
            1 => {
                users.succeed("bob", delete(&target)).await?;
                users.send("bob", Request::get(&target)).await?;
            }
            _ => {}
        }
    }
    let named = format!("{plants}/lily");
    let lily = json!({"data": {"name": "lily", "height": 40}});
    let only_new = put(&named, &lily).with_header("if-none-match", "*");
    users.succeed("bob", only_new.clone()).await?;
    users.send("bob", only_new).await?;
    let batch = json!({
        "defaults": {"method": "POST", "path": plants},
        "requests": [
            {"body": {"data": {"name": "ivy", "height": 7}}},
            {"body": {"data": {"name": "mint", "height": 8}}},
            {"method": "GET", "path": "/buckets/garden/collections/plants/records?_sort=name"},
        ],
    });
    users
        .succeed("bob", Request::post("/v1/batch").with_json(&batch))
        .await?;
    let note = json!({"data": {"text": "water the plants"}});
    let notes = "/v1/buckets/default/collections/notes/records";
    users
        .succeed("alice", put(&format!("{notes}/today"), &note))
        .await?;
    users.succeed("alice", Request::get(notes)).await?;
    Ok(())
}

async fn reads(users: &mut Users<'_>) -> Result<()> {
    let plants = "/v1/buckets/garden/collections/plants/records";
    for query in [
        "",
        "?_sort=-height",
        "?min_height=40&_sort=name",
        "?name=lily&_fields=name",
        "?like_name=*i*&_sort=name",
        "?contains_tags=%5B%22fern%22%5D",
        "?has_place=true",
        "?_since=0&_sort=last_modified",
    ] {
        users
            .succeed("bob", Request::get(format!("{plants}{query}")))
            .await?;
    }
    for query in [
        "",
        "?state=paid",
        "?_sort=-total,id&_limit=5",
        "?in_state=open,sent&gt_total=100",
        "?address.city=Berlin&exclude_id=order-00001",
        "?not_state=open&_sort=id",
        "?_fields=id,total&_sort=id",
        "?_since=%220%22&deleted=true",
        "/order-00002",
    ] {
        users
            .succeed("bob", Request::get(format!("{ORDERS}{query}")))
            .await?;
    }
    users.succeed("bob", Request::new("HEAD", ORDERS)).await?;
    for target in [
        "/v1/permissions",
        "/v1/permissions?resource_name=collection",
        "/v1/buckets/garden/history",
        "/v1/buckets/garden/history?resource_name=record&_sort=date",
        "/v1/buckets/shop/history?user_id=account:alice&_limit=3",
        "/v1/buckets/shop/history?action=delete",
        "/v1/__heartbeat__",
        "/v1/contribute.json",
        "/v1/buckets?_sort=id",
    ] {
        users.send("alice", Request::get(target)).await?;
    }
    Ok(())
}

/// What users may not do, and what they get wrong.
async fn refusals(users: &mut Users<'_>) -> Result<()> {
    let order = format!("{ORDERS}/order-00002");
    for (user, request) in [
        ("", Request::get(ORDERS)),
        ("dora", Request::get(ORDERS)),
        ("bob", delete(&order)),
        ("alice", Request::get("/v1/buckets/nothing")),
        ("alice", Request::get(format!("{ORDERS}/nothing"))),
        ("alice", Request::get(format!("{ORDERS}?_since=yesterday"))),
        ("alice", Request::get(format!("{ORDERS}?_limit=many"))),
        ("alice", Request::get(format!("{ORDERS}?_sort="))),
        ("alice", Request::get(format!("{ORDERS}?_token=nonsense"))),
        ("alice", put("/v1/buckets/no%20space", &json!({}))),
        ("alice", put(&order, &json!({"data": "text"}))),
        ("alice", put(&order, &json!({"datum": {}}))),
        (
            "alice",
            Request::post(ORDERS)
                .with_body("{")
                .with_header("content-type", "application/json"),
        ),
        (
            "alice",
            put(
                "/v1/buckets/garden/groups/bad",
                &json!({"data": {"members": 1}}),
            ),
        ),
        (
            "alice",
            Request::post("/v1/batch").with_json(&json!({"requests": []})),
        ),
        ("alice", Request::new("POST", "/v1/buckets/garden")),
        ("alice", Request::get("/v1/nothing")),
        ("alice", Request::get("/v0/buckets")),
    ] {
        users.send(user, request).await?;
    }
    Ok(())
}

fn id_of(answer: &Response) -> String {
    let body = answer.json().unwrap_or_default();
    body["data"]["id"].as_str().unwrap_or_default().to_owned()
}
