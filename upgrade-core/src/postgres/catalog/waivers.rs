//! What may differ, and why.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, CatalogDiff, ObjectId};

/// Objects and facts that are left out of a comparison, each with the reason, so that a report can
/// say it.
///
/// A pattern is the path that differences and findings print: an object, or an object and one of
/// its facts after `: `. A `*` stands for any text, also none. A pattern without a fact waives the
/// object and all of its facts, and nothing that belongs to it: `table public.log` waives the table and not
/// its columns (to leave out a table as a whole, use
/// [`CatalogScope::without_table`](super::CatalogScope::without_table)).
///
/// ```
/// use upgrade_core::postgres::catalog::{ObjectId, ObjectKind, Waivers};
///
/// let waivers = Waivers::new()
///     .with("index public.orders_*_tmp", "built by hand during the incident of May")
///     .with("* public.*: comment", "comments are for people");
/// let index = ObjectId::new(ObjectKind::Index, "public", "orders_total_tmp").of("orders");
/// assert!(waivers.matching(&index, None).next().is_some());
/// assert!(waivers.matching(&index, Some("valid")).next().is_some());
/// let column = ObjectId::new(ObjectKind::Column, "public", "note").of("orders");
/// assert!(waivers.matching(&column, None).next().is_none());
/// assert!(waivers.matching(&column, Some("comment")).next().is_some());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waivers(BTreeMap<String, String>);

impl Waivers {
    /// Nothing is waived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waives what the pattern matches, for a reason.
    #[must_use]
    pub fn with(mut self, pattern: impl Into<String>, reason: impl Into<String>) -> Self {
        self.0.insert(pattern.into(), reason.into());
        self
    }

    /// The patterns, each with the reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(pattern, reason)| (pattern.as_str(), reason.as_str()))
    }

    /// The patterns that match an object, or one of its facts.
    pub fn matching(&self, id: &ObjectId, attribute: Option<&str>) -> impl Iterator<Item = &str> {
        let object = id.to_string();
        let fact = attribute.map(|name| format!("{object}: {name}"));
        self.0.keys().map(String::as_str).filter(move |pattern| {
            matches(pattern, &object) || fact.as_ref().is_some_and(|fact| matches(pattern, fact))
        })
    }

    /// Takes all that is waived out of a catalog. Answers with the patterns that matched something;
    /// any other is stale, as far as this catalog shows.
    pub fn apply(&self, catalog: &mut Catalog) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        if self.0.is_empty() {
            return used;
        }
        catalog.objects.retain(|id, object| {
            object
                .attributes
                .retain(|name, _| !self.waives(id, Some(name), &mut used));
            !self.waives(id, None, &mut used)
        });
        used
    }

    /// Whether anything matches; what does is noted.
    fn waives(&self, id: &ObjectId, attribute: Option<&str>, used: &mut BTreeSet<String>) -> bool {
        let mut any = false;
        for pattern in self.matching(id, attribute) {
            any = true;
            used.insert(pattern.to_owned());
        }
        any
    }
}

impl CatalogDiff {
    /// The difference without what is waived, and the patterns that matched something in it; any
    /// other is stale, as far as this difference shows.
    pub fn without_waived(self, waivers: &Waivers) -> (Self, BTreeSet<String>) {
        let used = RefCell::new(BTreeSet::new());
        let left = self.without(|id, name| waivers.waives(id, name, &mut used.borrow_mut()));
        (left, used.into_inner())
    }
}

/// Whether a pattern, in which `*` stands for any text, matches the whole of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::{Object, ObjectKind};
    use super::*;

    #[test]
    fn a_star_is_any_text_and_all_else_is_itself() {
        let check = |pattern, text, expected| {
            assert_eq!(matches(pattern, text), expected, "`{pattern}` on `{text}`");
        };
        check("table public.t", "table public.t", true);
        check("table public.t", "table public.tt", false);
        check("table public.*", "table public.t", true);
        check("table public.*", "table public.", true);
        check("*", "", true);
        check("* public.a*b", "index public.axb", true);
        check("* public.a*b", "index public.axbc", false);
        check("a*b*c", "a b c", true);
        check("a*b*c", "a c b", false);
        // What one star has matched cannot match the next part.
        check("ab*ba", "aba", false);
        check("*aa*aa", "aaa", false);
        check("operator s.**", "operator s.*(integer, integer)", true);
        check("column public.größe*", "column public.größe.ö", true);
    }

    #[test]
    fn what_matches_goes_and_what_matched_nothing_is_told() {
        let object = |facts: &[&str]| Object {
            attributes: facts
                .iter()
                .map(|name| ((*name).to_owned(), "x".to_owned()))
                .collect(),
        };
        let t = ObjectId::new(ObjectKind::Table, "public", "t");
        let a = ObjectId::new(ObjectKind::Column, "public", "a").of("t");
        let mut catalog = Catalog::new(
            BTreeMap::from([
                (t.clone(), object(&["owner", "comment"])),
                (a.clone(), object(&["type", "comment"])),
            ]),
            BTreeMap::new(),
        );
        let waivers = Waivers::new()
            .with("table public.t", "why")
            .with("column *: comment", "why")
            .with("column *: default", "why");
        let used = waivers.apply(&mut catalog);
        assert_eq!(
            used.into_iter().collect::<Vec<_>>(),
            ["column *: comment", "table public.t"]
        );
        assert_eq!(catalog.objects(), &BTreeMap::from([(a, object(&["type"]))]));
    }
}
