//! One side of a replay: what its requests need that is other than recorded.

use std::collections::BTreeMap;

use super::ids::Names;
use super::recording::Recorded;
use crate::context::UpgradeContext;
use crate::error::{ErrorKind, Result};
use crate::http::{Answer, Broken, Client, Exchange, Headers, Request, Response};
use crate::side::Side;

/// What stands for host and port of a side in links of its answers: each side has others.
const HOST: &str = "://localhost";

/// The sessions of all users with one side.
#[derive(Debug)]
pub(super) struct Session {
    side: Side,
    cx: UpgradeContext,
    client: Client,
    /// Host and port.
    host: String,
    names: Names,
    /// The cookies of each user.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// How many of the last answers were incomplete.
    pub(super) broken: usize,
    answered: bool,
    pub(super) exchanges: Vec<Exchange>,
}

impl Session {
    pub(super) fn new(side: Side, cx: UpgradeContext, client: Client) -> Self {
        let host = client
            .server()
            .split_once("://")
            .map_or("", |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host).to_owned();
        Self {
            side,
            cx,
            client,
            host,
            names: Names::default(),
            cookies: BTreeMap::new(),
            broken: 0,
            answered: false,
            exchanges: Vec::new(),
        }
    }

    /// Sends a recorded request as this side needs it.
    ///
    /// # Errors
    /// As [`Client::send`]. A candidate that answered before and refuses connections now is at fault.
    pub(super) async fn send(&mut self, recorded: &Recorded) -> Result<()> {
        let request = self.request(recorded);
        let answer = match self.client.send(&self.cx, &request).await {
            Err(error)
                if error.kind() == ErrorKind::Unavailable
                    && self.side == Side::Candidate
                    && self.answered =>
            {
                Answer::Broken(Broken::Cut("no connection".to_owned()))
            }
            answer => answer?,
        };
        let answer = match answer {
            Answer::Complete(response) => {
                self.answered = true;
                self.broken = 0;
                self.take_cookies(recorded, &response);
                Answer::Complete(self.without_host(response))
            }
            broken @ Answer::Broken(_) => {
                self.broken += 1;
                broken
            }
        };
        self.exchanges.push(Exchange { request, answer });
        Ok(())
    }

    /// Scheme, host and port.
    pub(super) fn server(&self) -> &str {
        self.client.server()
    }

    /// The last answer, if it is complete.
    pub(super) fn last(&self) -> Option<&Response> {
        self.exchanges.last()?.answer.complete()
    }

    /// Learns from the last answer what this side calls by another name than the reference.
    pub(super) fn learn(&mut self, recorded: &Recorded, reference: &Response) {
        let answer = self.exchanges.last().map(|exchange| &exchange.answer);
        if let Some(Answer::Complete(own)) = answer {
            self.names.learn(&recorded.request, reference, own);
            for (name, value) in reference.headers.all("set-cookie").filter_map(cookie) {
                let mut own = own.headers.all("set-cookie").filter_map(cookie);
                if let Some((_, own)) = own.find(|(own, _)| *own == name) {
                    self.names.learn_cookie(value, own);
                }
            }
        }
    }

    fn request(&self, recorded: &Recorded) -> Request {
        let mut request = self.names.rewrite(&recorded.request);
        let headers = request.headers.iter();
        // What compresses is not read, and pages of another origin may not send.
        request.headers = headers.fold(Headers::default(), |all, (name, value)| match name {
            "accept-encoding" | "cookie" => all,
            "origin" => all.with(name, self.own_origin()),
            "referer" => {
                let path = value
                    .split_once("://")
                    .and_then(|(_, rest)| rest.split_once('/'));
                let path = path.map_or("", |(_, path)| path);
                all.with(name, format!("{}/{path}", self.own_origin()))
            }
            _ => all.with(name, value),
        });
        let mut cookies = BTreeMap::new();
        for header in recorded.request.headers.all("cookie") {
            let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
            cookies.extend(
                pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())),
            );
        }
        if let Some(own) = self.cookies.get(&recorded.user) {
            cookies.extend(own.clone());
        }
        // A cookie without a value was removed by the service.
        let cookies = cookies.iter().filter(|(_, value)| !value.is_empty());
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        match cookies.is_empty() {
            true => request,
            false => request.with_header("cookie", cookies.join("; ")),
        }
    }

    fn own_origin(&self) -> String {
        let scheme = self
            .client
            .server()
            .split_once("://")
            .map_or("http", |(scheme, _)| scheme);
        format!("{scheme}://{}", self.host)
    }

    fn take_cookies(&mut self, recorded: &Recorded, response: &Response) {
        for header in response.headers.all("set-cookie") {
            let Some((name, value)) = cookie(header) else {
                continue;
            };
            let attributes = header.to_ascii_lowercase().replace(' ', "");
            let removed = attributes.contains(";max-age=0") || attributes.contains("1970");
            let value = if removed {
                String::new()
            } else {
                value.to_owned()
            };
            let own = self.cookies.entry(recorded.user.clone()).or_default();
            own.insert(name.to_owned(), value);
        }
    }

    /// A response in which links to the side are those of any side.
    fn without_host(&self, mut response: Response) -> Response {
        let own = format!("://{}", self.host);
        let headers = response.headers.iter();
        response.headers = headers.fold(Headers::default(), |all, (name, value)| {
            all.with(name, value.replace(&own, HOST))
        });
        if let Ok(text) = std::str::from_utf8(&response.body)
            && text.contains(&own)
        {
            response.body = text.replace(&own, HOST).into_bytes();
        }
        response
    }
}

/// Name and value of a cookie that is set.
fn cookie(header: &str) -> Option<(&str, &str)> {
    let (name, value) = header.split(';').next()?.split_once('=')?;
    Some((name.trim(), value.trim()))
}
