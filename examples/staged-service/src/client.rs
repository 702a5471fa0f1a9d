//! A client of the orders service, of either release.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use staged_service::api::{OrderV1, OrderV2, PAGE};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The label by which clients of release 1 tell the channel.
const CHANNEL: &str = "channel";

/// An order, as its client means it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) cents: i64,
    pub(crate) channel: String,
}

/// Which API a client knows. One that knows the second takes the first where that is all there is,
/// as it has to while both releases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    First,
    Both,
}

/// Requests to one system; the error of each says what a user would see.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(base: &str) -> Result<Self, String> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Ok(Self {
            http: http.build().map_err(|error| words(&error))?,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Places an order. Sent again it changes nothing.
    pub(crate) async fn place(&self, order: &Order, knows: Knows) -> Result<(), String> {
        let path = format!("orders/{}", order.id);
        if knows == Knows::Both {
            let put = self.http.put(format!("{}/v2/{path}", self.base));
            let answer = put.json(&OrderV2::from(order)).send().await;
            let answer = answer.map_err(|error| words(&error))?;
            if answer.status() != StatusCode::NOT_FOUND {
                return good(answer).await.map(drop);
            }
        }
        let put = self.http.put(format!("{}/v1/{path}", self.base));
        let answer = put.json(&OrderV1::from(order)).send().await;
        good(answer.map_err(|error| words(&error))?).await.map(drop)
    }

    /// Reads an order, which has to be there.
    pub(crate) async fn read(&self, id: &str, knows: Knows) -> Result<Order, String> {
        if knows == Knows::Both {
            let answer = self.get(&format!("v2/orders/{id}")).await?;
            // Release 1 does not know the path; an order that is not there has a body that says so.
            if answer.status() != StatusCode::NOT_FOUND || answer.content_length() != Some(0) {
                return json::<OrderV2>(answer).await.map(Order::from);
            }
        }
        let answer = self.get(&format!("v1/orders/{id}")).await?;
        Order::try_from(json::<OrderV1>(answer).await?)
    }

    /// All orders, by their ids, as release 1 tells them.
    pub(crate) async fn all_v1(&self) -> Result<BTreeMap<String, Order>, String> {
        self.all("v1", |order: OrderV1| order.try_into()).await
    }

    /// All orders, by their ids, as release 2 tells them.
    pub(crate) async fn all_v2(&self) -> Result<BTreeMap<String, Order>, String> {
        self.all("v2", |order: OrderV2| Ok(order.into())).await
    }

    async fn all<T: DeserializeOwned>(
        &self,
        api: &str,
        read: impl Fn(T) -> Result<Order, String>,
    ) -> Result<BTreeMap<String, Order>, String> {
        let mut all = BTreeMap::new();
        let mut after = String::new();
        loop {
            let answer = self.get(&format!("{api}/orders?after={after}")).await?;
            let page: Vec<T> = json(answer).await?;
            let full = i64::try_from(page.len()).is_ok_and(|count| count == PAGE);
            for order in page {
                let order = read(order)?;
                after.clone_from(&order.id);
                all.insert(order.id.clone(), order);
            }
            if !full {
                return Ok(all);
            }
        }
    }

    /// The release that answers now.
    pub(crate) async fn release(&self) -> Result<String, String> {
        let answer = good(self.get("release").await?).await?;
        answer.text().await.map_err(|error| words(&error))
    }

    async fn get(&self, path: &str) -> Result<Response, String> {
        let answer = self.http.get(format!("{}/{path}", self.base)).send().await;
        answer.map_err(|error| words(&error))
    }
}

async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, String> {
    let body = good(answer).await?.json().await;
    body.map_err(|error| words(&error))
}

async fn good(answer: Response) -> Result<Response, String> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.text().await.unwrap_or_default();
    Err(format!("{status}: {}", body.trim()))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

impl From<&Order> for OrderV1 {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.clone(),
            customer: order.customer.clone(),
            total: format!("{}.{:02}", order.cents / 100, order.cents % 100),
            labels: Json([(CHANNEL.to_owned(), order.channel.clone())].into()),
        }
    }
}

impl From<&Order> for OrderV2 {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.clone(),
            customer: order.customer.clone(),
            total_cents: order.cents,
            channel: Some(order.channel.clone()),
        }
    }
}

impl TryFrom<OrderV1> for Order {
    type Error = String;

    fn try_from(order: OrderV1) -> Result<Self, String> {
        let cents = order.total.replace('.', "").parse();
        let cents = cents.map_err(|_| format!("the total `{}` is not an amount", order.total))?;
        let Json(mut labels) = order.labels;
        Ok(Self {
            id: order.id,
            customer: order.customer,
            cents,
            channel: labels.remove(CHANNEL).unwrap_or_default(),
        })
    }
}

impl From<OrderV2> for Order {
    fn from(order: OrderV2) -> Self {
        Self {
            id: order.id,
            customer: order.customer,
            cents: order.total_cents,
            channel: order.channel.unwrap_or_default(),
        }
    }
}
