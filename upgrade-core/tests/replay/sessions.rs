//! Logins, tokens and ids that each system generates anew.

use serde_json::{Value, json};
use upgrade_core::Verdict;
use upgrade_core::http::{Request, Response};
use upgrade_core::replay::{Recorded, Recording, Replay};

use crate::service::{Call, Reply, Service, failed, json as answer, keys, validate};

/// A shop with a login. What it generates begins with its name.
struct Shop {
    name: &'static str,
    /// From where on it numbers orders.
    next: u64,
    orders: Vec<(u64, String, Value)>,
    defect: bool,
}

impl Shop {
    fn new(name: &'static str, next: u64) -> Self {
        Self {
            name,
            next,
            orders: Vec::new(),
            defect: false,
        }
    }

    fn key(&self, of: u64) -> String {
        let digit = self.name.bytes().map(u64::from).sum::<u64>() % 10;
        format!("{digit}b5e6b0a-6d0e-4c3e-9d43-1f2f3c4d{of:04}")
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let (session, csrf) = (
            format!("canary-{}-1", self.name),
            format!("canary-{}-2", self.name),
        );
        if call.line() == "POST /login" {
            assert_eq!(call.json()["password"], "canary-password");
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("set-cookie", format!("sid={session}; Path=/; HttpOnly")),
            ];
            return Reply::Full(200, headers, json!({"csrf_token": csrf}).to_string());
        }
        if !call.header("cookie").contains(&format!("sid={session}")) {
            return answer(401, &json!({"error": "log in"}));
        }
        let path: Vec<&str> = call.target.trim_start_matches('/').split('/').collect();
        match (call.method.as_str(), &path[..]) {
            ("POST", ["orders"]) => {
                if call.header("x-csrf-token") != csrf {
                    return answer(403, &json!({"error": "no token"}));
                }
                let (id, key) = (self.next, self.key(self.next));
                self.next += 1;
                let mut lines = call.json()["lines"].clone();
                if self.defect {
                    lines = json!([]);
                }
                self.orders.push((id, key.clone(), lines.clone()));
                let location = format!("http://{}/orders/{id}", call.header("host"));
                let headers = vec![
                    ("content-type", "application/json".to_owned()),
                    ("location", location),
                ];
                let body = json!({"id": id, "key": key, "lines": lines});
                Reply::Full(201, headers, body.to_string())
            }
            ("GET", ["orders", id]) => {
                match self.orders.iter().find(|one| one.0.to_string() == *id) {
                    Some((id, key, lines)) => {
                        answer(200, &json!({"id": id, "key": key, "lines": lines}))
                    }
                    None => answer(404, &json!({"error": "there is none"})),
                }
            }
            ("GET", ["keys", key]) => match self.orders.iter().find(|one| one.1 == *key) {
                Some((_, _, lines)) => answer(200, &json!({"lines": lines})),
                None => answer(404, &json!({"error": "there is none"})),
            },
            _ => answer(404, &json!({"error": "no page"})),
        }
    }
}

async fn start(mut shop: Shop) -> Service {
    Service::start(move |call| shop.answer(call)).await
}

/// What a browser recorded at another system, with the ids and tokens of that.
fn recording() -> Recording {
    let mut shop = Shop::new("recorded", 500);
    let key = shop.key(500);
    let requests = [
        Request::post("/login").with_json(&json!({"user": "ann", "password": "canary-password"})),
        Request::post("/orders")
            .with_header("x-csrf-token", "canary-recorded-2")
            .with_header("cookie", "sid=canary-recorded-1; theme=dark")
            .with_json(&json!({"lines": [1, 2]})),
        Request::get("/orders/500").with_header("cookie", "sid=canary-recorded-1; theme=dark"),
        Request::get(format!("/keys/{key}")).with_header("cookie", "sid=canary-recorded-1"),
    ];
    Recording::from_recorded(requests.map(|request| {
        let headers = request.headers.iter();
        let call = Call {
            method: request.method.clone(),
            target: request.target.clone(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: String::from_utf8(request.body.clone()).unwrap(),
        };
        let Reply::Full(status, headers, body) = shop.answer(&call) else {
            panic!("the shop answers");
        };
        let response = Response::new(status).with_body(body);
        let response = headers
            .into_iter()
            .fold(response, |response, (name, value)| {
                response.with_header(name, value)
            });
        assert!(response.is_success(), "{response}");
        Recorded::new(request).with_answer(response)
    }))
}

#[tokio::test]
async fn each_side_has_its_session_and_its_ids() {
    let services = [
        start(Shop::new("old-1", 40)).await,
        start(Shop::new("old-2", 40)).await,
        // A migration took a number of the sequence.
        start(Shop::new("new-1", 41)).await,
    ];
    let replay = Replay::new("shop", "web", recording());
    assert_eq!(validate(&replay, &services).await, Verdict::Pass);
}

#[tokio::test]
async fn a_defect_behind_a_login_is_found_and_shows_no_secret() {
    let mut shop = Shop::new("new-1", 40);
    shop.defect = true;
    let services = [
        start(Shop::new("old-1", 40)).await,
        start(Shop::new("old-2", 40)).await,
        start(shop).await,
    ];
    let replay = Replay::new("shop", "web", recording());
    let findings = failed(validate(&replay, &services).await);
    assert_eq!(
        keys(&findings),
        [
            "error[api/answer-differs] GET /keys/{}: $.lines[] (size) (request 4)",
            "error[api/answer-differs] GET /orders/{}: $.lines[] (size) (request 3)",
            "error[api/answer-differs] POST /orders: $.lines[] (size) (request 2)",
        ]
    );
    assert_eq!(
        findings[2].message,
        "there were 2 elements and are 0 in the only answer"
    );
    let evidence = findings[2].evidence.as_deref().unwrap();
    assert!(evidence.contains("baseline   1, 2\n"), "{evidence}");
    let curl = evidence.lines().last().unwrap();
    assert!(
        curl.contains("--request POST") && curl.contains(r#"{"lines":[1,2]}"#),
        "{curl}"
    );
    assert!(
        curl.ends_with(&format!("'{}/orders'", services[2].url)),
        "{curl}"
    );
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_inconclusive() {
    let services = [
        start(Shop::new("old-1", 40)).await,
        start(Shop::new("old-2", 40)).await,
        start(Shop::new("new-1", 40)).await,
    ];
    // The recording begins after the login.
    let all = recording();
    let rest = all.requests()[1..].iter().cloned();
    let login = Recorded::new(all.requests()[0].request.clone()).of_user("another one");
    let replay = Replay::new(
        "shop",
        "web",
        Recording::from_recorded([login].into_iter().chain(rest)),
    );
    let Verdict::Inconclusive(reason) = validate(&replay, &services).await else {
        panic!("it is judged");
    };
    assert!(
        reason.contains("all sides refused 3 of 4 requests with 401"),
        "{reason}"
    );
}
