//! Secrets are taken out of every text that leaves the library.
//!
//! What a run knows as a secret is in its [`Secrets`]. Texts of others pass through them where they
//! come in (the output of a command, the logs of containers), and everything once more where it
//! leaves: events, the report, the error of a run. What nobody knows, and what stands where
//! passwords stand ([`credentials`]), is taken out of every error.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::secret::Secret;

mod credentials;
mod known;

pub(crate) use self::credentials::credentials;
#[cfg(feature = "postgres")]
pub(crate) use self::credentials::server_log;
#[cfg(any(feature = "postgres", feature = "http"))]
pub(crate) use self::known::is_name_of_secret;
use self::known::password_of;

/// What stands where a secret stood.
pub(crate) const GONE: &str = "***";

/// The values that a run knows as secrets, in each form in which they may be printed. Clones share
/// them.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// Takes a value for a secret. One that is a name as well (`postgres`) or too short would make
    /// every text unreadable; [`credentials`] finds it where passwords stand.
    pub(crate) fn add(&self, value: &Secret) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in known::forms(value.expose()) {
            if !all.contains(&form) {
                all.push(form);
            }
        }
        // The longest first: one may be a part of another.
        all.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    }

    /// The secrets of another run or part.
    #[cfg(feature = "docker")]
    pub(crate) fn add_all(&self, others: &Self) {
        let others = others.all();
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.extend(others);
        all.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        all.dedup();
    }

    /// The password of a URL.
    pub(crate) fn add_url(&self, url: &Secret) {
        if let Some(password) = password_of(url.expose()) {
            self.add(&Secret::new(password));
        }
    }

    /// A variable, by its name or as a URL with a password.
    #[cfg(feature = "postgres")]
    pub(crate) fn add_variable(&self, name: &str, value: &Secret) {
        if value.expose().contains("://") {
            self.add_url(value);
        } else if is_name_of_secret(name) {
            self.add(value);
        }
    }

    #[cfg(feature = "docker")]
    fn all(&self) -> Vec<String> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// A text without secrets.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = self.redact_known(text);
        match credentials(&text) {
            Cow::Owned(without) => Cow::Owned(without),
            Cow::Borrowed(_) => text,
        }
    }

    /// A text without the secrets that are known; what only looks like one stays.
    pub(crate) fn redact_known<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for secret in all.iter() {
            if let Some(without) = known::without(&text, secret) {
                text = Cow::Owned(without);
            }
        }
        text
    }

    /// Data without secrets in any of its texts; nothing if it cannot be read as it was written,
    /// so that nothing leaves that was not looked through.
    pub(crate) fn redact_data<T: Serialize + DeserializeOwned>(&self, data: T) -> Option<T> {
        redacted(data, &|text| self.redact(text))
    }

    /// The same, without the secrets that are known; what only looks like one stays.
    pub(crate) fn redact_known_data<T: Serialize + DeserializeOwned>(&self, data: T) -> Option<T> {
        redacted(data, &|text| self.redact_known(text))
    }
}

/// A text without its secrets: borrowed where it has none.
type Redact<'r> = dyn for<'t> Fn(&'t str) -> Cow<'t, str> + 'r;

fn redacted<T: Serialize + DeserializeOwned>(data: T, by: &Redact<'_>) -> Option<T> {
    let mut value = serde_json::to_value(&data).ok()?;
    match redact_value(&mut value, by) {
        false => Some(data),
        true => serde_json::from_value(value).ok(),
    }
}

/// Whether anything was taken out.
fn redact_value(value: &mut Value, by: &Redact<'_>) -> bool {
    match value {
        Value::String(text) => match by(text) {
            Cow::Owned(without) => {
                *text = without;
                true
            }
            Cow::Borrowed(_) => false,
        },
        Value::Array(all) => all
            .iter_mut()
            .fold(false, |found, one| redact_value(one, by) | found),
        Value::Object(all) => all
            .values_mut()
            .fold(false, |found, one| redact_value(one, by) | found),
        _ => false,
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(***)")
    }
}

/// An error of which a text was changed, with its causes as texts.
#[derive(Debug)]
struct Changed {
    text: String,
    source: Option<Box<Self>>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Changed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error with changed texts, its causes among them; nothing where no text changes.
pub(crate) fn changed(
    error: &(dyn StdError + 'static),
    change: &dyn Fn(&str) -> String,
) -> Option<Box<dyn StdError + Send + Sync>> {
    let mut texts = Vec::new();
    let mut differs = false;
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let without = change(&text);
        // What `{:?}` shows beside that must not be kept either.
        let shown = format!("{error:?}");
        differs |= without != text || change(&shown) != shown;
        texts.push(without);
        next = error.source();
    }
    if differs { chain(texts) } else { None }
}

/// Texts as an error and its causes.
pub(crate) fn chain(texts: Vec<String>) -> Option<Box<dyn StdError + Send + Sync>> {
    let mut chain = None;
    for text in texts.into_iter().rev() {
        chain = Some(Box::new(Changed {
            text,
            source: chain,
        }));
    }
    chain.map(|chain| chain as Box<dyn StdError + Send + Sync>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_in_each_of_its_forms() {
        let secrets = Secrets::default();
        secrets.add(&Secret::new("pa'ss \"w\\rd/ü"));
        for text in [
            "pa'ss \"w\\rd/ü",
            "pa''ss \"w\\rd/ü",
            "pa%27ss%20%22w%5Crd%2F%C3%BC",
            "pa%27ss%20%22w%5crd%2f%c3%bc",
            "pa'ss%20%22w%5Crd%2F%C3%BC",
            r#"pa'ss \"w\\rd/ü"#,
            r#"pa\'ss \"w\\rd/ü"#,
        ] {
            assert_eq!(secrets.redact(&format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn lines_of_a_file_are_secrets_and_common_words_are_not() {
        let secrets = Secrets::default();
        secrets.add(&Secret::new("-----BEGIN KEY-----\nMIIEvQIBADAN\nshort\n"));
        assert_eq!(
            secrets.redact("log: MIIEvQIBADAN, short"),
            "log: ***, short"
        );
        for word in ["postgres", "staging", "", "abc", "1234"] {
            secrets.add(&Secret::new(word));
        }
        let text = "postgres in staging, abc 1234";
        assert_eq!(secrets.redact(text), text);
        // A short secret is replaced as a whole word only, a long one anywhere.
        secrets.add(&Secret::new("hunter2"));
        secrets.add(&Secret::new("canary-0001"));
        assert_eq!(
            secrets.redact("hunter2 hunter22 <hunter2> xcanary-0001x"),
            "*** hunter22 <***> x***x"
        );
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn variables_count_by_their_names_and_as_urls() {
        let secrets = Secrets::default();
        secrets.add_variable("STRIPE_API_KEY", &Secret::new("sk_live_1"));
        secrets.add_variable("LOG_LEVEL", &Secret::new("verbose"));
        secrets.add_variable("DB", &Secret::new("postgres://shop:p%40ss-word@db/shop"));
        secrets.add_variable("POSTGRES_PASSWORD_FILE", &Secret::new("/run/secrets/x"));
        assert_eq!(
            secrets.redact("sk_live_1 verbose p%40ss-word p@ss-word /run/secrets/x"),
            "*** verbose *** *** /run/secrets/x"
        );
    }

    #[test]
    fn an_error_keeps_its_causes_as_texts() {
        let inner = std::io::Error::other("the token is canary-0001");
        let outer = crate::Error::new(crate::ErrorKind::Io, "outer").with_source(inner);
        let secrets = Secrets::default();
        secrets.add(&Secret::new("canary-0001"));
        let error = outer.redacted(&secrets);
        assert_eq!(format!("{error:?}"), "outer\n  caused by: the token is ***");
        assert!(!format!("{error:#?}").contains("canary"));
    }
}
