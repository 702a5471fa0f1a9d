//! What users do with the server: write, and read what they have written.

use serde_json::{Value, json};
use upgrade_core::Result;

use crate::api::{Answer, Call, Client};

/// 2026-01-01 in Unix seconds. Each time is a number of seconds after it, given in nanoseconds.
const EPOCH: u64 = 1_767_225_600;
const PASSWORD: &str = "correct horse";

/// A part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Area {
    /// Users and their sessions.
    Accounts,
    /// Commands as clients have sent them from the beginning.
    History,
    /// Commands as clients send them since there are records.
    Records,
}

impl Area {
    pub(crate) const ALL: [Self; 3] = [Self::Accounts, Self::History, Self::Records];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::History => "history",
            Self::Records => "records",
        }
    }
}

/// A user who has registered.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) token: String,
}

/// What a user has been promised: that it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) area: Area,
    /// Of which user.
    pub(crate) user: usize,
    pub(crate) number: u64,
    /// In which attempt it was written; what is there from the beginning has 0.
    pub(crate) attempt: u32,
}

/// How a call was judged.
pub(crate) struct Judged {
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    /// What of the items is not in a good answer, or is another one.
    pub(crate) missing: Vec<Item>,
}

const REGISTER: Call = post("/register");
const LOGIN: Call = post("/login");
const ME: Call = get("/api/v0/me");
const USER: Call = get("/user/{}");
const UNREGISTER: Call = Call {
    method: "DELETE",
    path: "/account",
};
const VERIFICATION: Call = post("/api/v0/account/send-verification");
const ADD_HISTORY: Call = post("/history");
const COUNT: Call = get("/sync/count");
const STATUS: Call = get("/sync/status");
const LIST: Call = get("/sync/history");
const ADD_RECORD: Call = post("/api/v0/record");
const INDEX: Call = get("/api/v0/record");
const NEXT: Call = get("/api/v0/record/next");

const fn get(path: &'static str) -> Call {
    Call {
        method: "GET",
        path,
    }
}

const fn post(path: &'static str) -> Call {
    Call {
        method: "POST",
        path,
    }
}

/// Registers a user.
pub(crate) async fn register(client: &Client, name: &str) -> Result<(Answer, Option<User>)> {
    let body = json!({
        "username": name, "email": format!("{name}@example.org"), "password": PASSWORD,
    });
    let answer = client.call(REGISTER, "", None, Some(body)).await?;
    let user = answer.body["session"].as_str().map(|token| User {
        name: name.to_owned(),
        token: token.to_owned(),
    });
    Ok((answer, user))
}

/// Removes a user with all that the user has written.
pub(crate) async fn unregister(client: &Client, user: &User) -> Result<Answer> {
    client.call(UNREGISTER, "", Some(&user.token), None).await
}

/// What a user does all the time in an area.
pub(crate) async fn act(
    client: &Client,
    area: Area,
    user: &User,
    number: u64,
) -> Result<(Call, Answer)> {
    let (call, body) = match area {
        Area::Accounts => (ME, None),
        Area::History => (ADD_HISTORY, Some(history(number))),
        Area::Records => (ADD_RECORD, Some(record(number))),
    };
    let answer = client.call(call, "", Some(&user.token), body).await?;
    Ok((call, answer))
}

/// Asks every call by which a user reads in an area, and compares with what was promised.
pub(crate) async fn read(
    client: &Client,
    area: Area,
    user: &User,
    promised: &[Item],
) -> Result<Vec<Judged>> {
    let token = Some(user.token.as_str());
    let mut all = Vec::new();
    let mut add = |call, answer: Answer, kept: &dyn Fn(&Value, &Item) -> bool| {
        let missing = promised.iter().filter(|item| !kept(&answer.body, item));
        let missing = missing.copied().collect();
        all.push(Judged {
            call,
            answer,
            missing,
        });
    };
    match area {
        Area::Accounts => {
            let named = |body: &Value, _: &Item| body["username"] == user.name.as_str();
            add(ME, client.call(ME, "", token, None).await?, &named);
            let answer = client.call(USER, &user.name, token, None).await?;
            add(USER, answer, &named);
            let body = json!({"username": user.name, "password": PASSWORD});
            let answer = client.call(LOGIN, "", None, Some(body)).await?;
            add(LOGIN, answer, &|body, _| body["session"].is_string());
            let answer = client.call(VERIFICATION, "", token, None).await?;
            add(VERIFICATION, answer, &|body, _| {
                body["verified"].is_boolean()
            });
        }
        Area::History => {
            // Which ones are missing a count does not say: taken for it are the last.
            let counts = |body: &Value, item: &Item| {
                let place = promised.iter().position(|one| one == item).unwrap_or(0) as u64;
                body["count"].as_u64() > Some(place)
            };
            add(COUNT, client.call(COUNT, "", token, None).await?, &counts);
            add(STATUS, client.call(STATUS, "", token, None).await?, &counts);
            let since = "1970-01-01T00:00:00Z";
            let question = format!("?sync_ts={since}&history_ts={since}&host=another");
            add(
                LIST,
                client.call(LIST, &question, token, None).await?,
                &|body, item| {
                    let all = body["history"].as_array();
                    all.is_some_and(|all| all.contains(&json!(command(item.number))))
                },
            );
        }
        Area::Records => {
            add(
                INDEX,
                client.call(INDEX, "", token, None).await?,
                &|body, item| body["hosts"][host(item.number)]["history"] == 0,
            );
            // One is read whole; each has its own host.
            if let Some(first) = promised.first() {
                let host = host(first.number);
                let question = format!("?host={host}&tag=history&start=0&count=10");
                let answer = client.call(NEXT, &question, token, None).await?;
                let whole = record(first.number)[0]["data"].clone();
                add(NEXT, answer, &|body, item| {
                    item.number != first.number || body[0]["data"] == whole
                });
            }
        }
    }
    Ok(all)
}

fn command(number: u64) -> String {
    format!("command {number}")
}

fn host(number: u64) -> String {
    format!("00000001-0000-4000-8000-{number:012x}")
}

fn history(number: u64) -> Value {
    let (minutes, seconds) = (number / 60, number % 60);
    let (hours, minutes) = (minutes / 60 % 24, minutes % 60);
    json!([{
        "id": format!("{number:032x}"),
        "timestamp": format!("2026-01-01T{hours:02}:{minutes:02}:{seconds:02}Z"),
        "data": command(number),
        "hostname": "laptop:somebody",
    }])
}

fn record(number: u64) -> Value {
    json!([{
        "id": format!("00000002-0000-4000-8000-{number:012x}"),
        "idx": 0,
        "host": {"id": host(number), "name": ""},
        "timestamp": (EPOCH + number) * 1_000_000_000,
        "version": "v0",
        "tag": "history",
        "data": {"data": command(number), "content_encryption_key": "key"},
    }])
}
