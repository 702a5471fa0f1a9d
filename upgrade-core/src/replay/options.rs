//! What is compared.

use super::places::Place;

/// What of the answers is compared, and how requests are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Places that are not compared; see [`ignoring`](Self::ignoring). None by default.
    pub ignored: Vec<String>,
    /// Headers that are compared beside `cache-control`, `content-type`, `link`, `location` and whether there
    /// is an `etag`; in lower case. None by default.
    pub headers: Vec<String>,
    /// Paths of which some segments stand for any, such as `/products/{slug}`. Requests that fit one are of
    /// one endpoint. Without one, segments that are numbers, UUIDs or long texts with digits stand for any.
    pub templates: Vec<String>,
    /// Scheme, host and port with which findings print requests.
    pub server: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ignored: Vec::new(),
            headers: Vec::new(),
            templates: Vec::new(),
            server: "http://localhost".to_owned(),
        }
    }
}

impl Options {
    /// Does not compare the places that a pattern matches, in which `*` stands for any text:
    /// `$.meta.*`, `header link`. With an endpoint before it, it concerns only that one:
    /// `GET /orders/{}: $.eta`. Of what was written, `column public.orders.total` or `table public.log`.
    #[must_use]
    pub fn ignoring(mut self, pattern: impl Into<String>) -> Self {
        self.ignored.push(pattern.into());
        self
    }

    /// Compares one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl AsRef<str>) -> Self {
        self.headers.push(name.as_ref().to_ascii_lowercase());
        self
    }

    /// Takes requests whose paths fit a template, such as `/products/{slug}`, for those of one endpoint.
    #[must_use]
    pub fn with_template(mut self, path: impl Into<String>) -> Self {
        self.templates.push(path.into());
        self
    }

    /// Whether the rows of a table (`table public.orders`) or the values of a column
    /// (`column public.orders.total`) are not compared.
    #[cfg(feature = "postgres")]
    pub(super) fn ignores_rows(&self, subject: &str) -> bool {
        let mut patterns = self.ignored.iter();
        patterns.any(|pattern| matches(pattern, subject))
    }

    pub(super) fn ignores(&self, endpoint: &str, place: &Place) -> bool {
        let subject = format!("{endpoint}: {}", place.text);
        let mut patterns = self.ignored.iter();
        patterns.any(|pattern| matches(pattern, &place.text) || matches(pattern, &subject))
    }
}

/// Whether a pattern, in which `*` stands for any text, matches all of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("$.a", "$.a", true),
            ("$.a", "$.ab", false),
            ("$.a*", "$.ab", true),
            ("*.at", "$.a.at", true),
            ("$.*.b.*.d", "$.a.b.c.d", true),
            ("$.*.b.*.d", "$.a.b.d", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
