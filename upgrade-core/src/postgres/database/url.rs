//! A database as a URL, and back.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::{Database, NAME_LIMIT};
use crate::environment::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

impl Database {
    /// The database that a URL names; destructive acts need its marker.
    ///
    /// The name is percent-decoded: a database `a%20b` is written `a%2520b`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is no Postgres URL, names no database, or names one
    /// that no server can have; the message does not repeat the URL.
    pub fn from_url(url: &Secret) -> Result<Self> {
        // The source of an error may quote the URL, and with it a password: it is left out.
        let text = url.expose();
        let of_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let options = of_postgres
            .then(|| PgConnectOptions::from_str(text).ok())
            .flatten();
        let Some(options) = options else {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the database URL cannot be read")
                    .with_hint("write it as `postgres://user:password@host:5432/database`"),
            );
        };
        let Some(name) = options.get_database().map(str::to_owned) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the database URL names no database",
            )
            .with_hint("append the name, as in `postgres://user@host:5432/database`"));
        };
        if name.len() > NAME_LIMIT {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the database name `{name}` in the URL has {} bytes, more than {NAME_LIMIT}",
                    name.len()
                ),
            )
            .with_hint("the server would connect to the database with the name cut short: write its real name"));
        }
        Ok(Self::new(&options, name))
    }

    /// Where the database can be reached, for an environment to offer. Every name of a database
    /// and of a user is written so that [`Self::from_url`] and the clients of Postgres read the
    /// same name.
    pub fn endpoint(&self) -> Endpoint {
        let endpoint = Endpoint::new(Secret::new(self.url()));
        match &self.operation {
            Some(operation) => endpoint.with_held(operation.clone()),
            None => endpoint,
        }
    }

    fn url(&self) -> String {
        // sqlx writes the names of user, host and database as they are, so they are put in here.
        let host = self.server.get_host();
        let is_address = host.contains(':') && self.server.get_socket().is_none();
        let mut plain = self.server.clone().username("u").database("");
        if is_address {
            plain = plain.host("localhost");
        }
        let mut url = plain.to_url_lossy();
        url.set_username(&encoded(self.server.get_username()))
            .unwrap_or_default();
        // A path that is `.` or `..` is taken for a step to another place, however it is encoded.
        let is_step = matches!(self.name.as_str(), "." | "..");
        if !is_step {
            url.set_path(&encoded(&self.name));
        }
        // Other clients refuse what only sqlx knows.
        let known: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| !key.starts_with("statement-cache-"))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        let more = [
            ("host", is_address.then_some(host)),
            ("dbname", is_step.then_some(self.name.as_str())),
            ("options", self.server.get_options()),
        ];
        let more = more
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        // libpq does not take `+` for a space.
        let query: Vec<String> = known
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .chain(more)
            .map(|(key, value)| format!("{key}={}", encoded(value)))
            .collect();
        url.set_query(Some(&query.join("&")));
        url.to_string()
    }
}

/// A text in which everything but letters and digits of ASCII is percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::place;
    use super::*;

    #[test]
    fn a_url_is_read_and_never_printed() {
        let database =
            Database::from_url(&Secret::new("postgres://u:hunter2@db.test:5433/orders")).unwrap();
        assert_eq!(database.name(), "orders");
        let text = format!("{database:?} {database:#?}");
        assert!(
            text.contains("db.test:5433") && !text.contains("hunter2"),
            "{text}"
        );
        for bad in [
            "mysql://u:hunter2@h/x",
            "hunter2",
            "postgres://u:hunter2@h:port/x",
        ] {
            let error = Database::from_url(&Secret::new(bad)).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_name_that_the_server_would_cut_short_is_refused() {
        let url = |name: &str| Secret::new(format!("postgres://u@h/{name}"));
        assert!(Database::from_url(&url(&"a".repeat(63))).is_ok());
        let error = Database::from_url(&url(&"a".repeat(64))).unwrap_err();
        assert!(
            error.to_string().contains("64 bytes, more than 63"),
            "{error}"
        );
    }

    /// Names with everything that means something in a URL, a shell or a statement.
    fn names() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "%", "%20", "%2F", "%zz", "/", "?", "#", "@", ":", "&", "=", "+", " ", "\"", "'", "\\",
            ".", "..", "[", "]", "{", "}", "|", "^", "`", "$", ";", "\t", "\n", "ü", "日本", "🦀",
            "a", "Z", "9", "_", "-",
        ]);
        prop::collection::vec(odd, 1..24).prop_map(|parts| {
            let mut name = parts.concat();
            while name.len() > NAME_LIMIT {
                name.pop();
            }
            name
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_name_comes_back_from_the_url_of_its_endpoint(
            name in names(),
            user in names(),
            password in names(),
            options in names(),
            at in 0..3,
        ) {
            let server = PgConnectOptions::new_without_pgpass()
                .username(&user)
                .password(&password)
                .options([("a.b", options)]);
            let server = match at {
                0 => server.host("db.test").port(5433),
                1 => server.host("::1"),
                _ => server.socket("/run/pg % x"),
            };
            let database = Database::new(&server, &name);
            let back = Database::from_url(database.endpoint().url()).unwrap();
            prop_assert_eq!(back.name(), &name);
            prop_assert_eq!(back.server.get_username(), &user);
            prop_assert_eq!(back.server.get_options(), database.server.get_options());
            prop_assert_eq!(place(&back.server), place(&database.server));
            // The password has no getter: what is written again is the same.
            prop_assert_eq!(back.endpoint(), database.endpoint());
            // A sibling is reached by its own name, whatever this one is called.
            let sibling = Database::from_url(back.sibling("postgres").endpoint().url()).unwrap();
            prop_assert_eq!(sibling.name(), "postgres");
        }
    }

    #[test]
    fn an_endpoint_of_a_socket_is_read_back() {
        let options = PgConnectOptions::new_without_pgpass()
            .socket("/run/pg x")
            .username("u");
        let endpoint = Database::new(&options, "orders").endpoint();
        assert!(
            !endpoint.url().expose().contains("statement-cache"),
            "psql would refuse it"
        );
        let back = Database::from_url(endpoint.url()).unwrap();
        assert_eq!(back.name(), "orders");
        assert_eq!(place(&back.server), "/run/pg x");
    }
}
