//! Character types, bytea, json, xml, full-text search and the text-like extension types.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::strategy::{Just, Strategy, Union};
use proptest::string::string_regex;

use super::{Options, Texts, constants, weighted};
use crate::seed::check::{Bound, Case, Hints, Limit};

/// How long unbounded text may get: keys of indexes must stay below a third of a page.
const LONGEST: usize = 60;
/// The longest text that is filled to the brim.
const BRIM: usize = 255;

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints, options: Options) -> Option<Texts> {
    let declared = usize::try_from(typmod - 4).ok();
    Some(match name {
        "text" | "citext" => characters(None, hints, options),
        "varchar" | "bpchar" => characters(declared, hints, options),
        "name" => characters(Some(15), hints, options),
        "char" => regex("[a-zA-Z0-9]"),
        "refcursor" => regex("[a-z]{1,12}"),
        "bytea" => bytes(hints),
        "json" | "jsonb" => json(hints.json.as_deref()),
        "jsonpath" => constants(&["$", "$.a", "$.a[*].b", "$.** ? (@ > 1)"]),
        "xml" => regex("<a b=\"[a-z]{0,5}\">[a-z ]{0,9}(<c/>)?</a>"),
        "tsvector" => vec("[a-z]{1,7}", 0..5)
            .prop_map(|words| numbered(&words))
            .sboxed(),
        "tsquery" => regex("[a-z]{2,7}( (&|\\|) !?[a-z]{2,7}){0,2}"),
        "hstore" => vec(("[a-z]{1,5}", "[a-z \u{e9}]{0,5}"), 0..3)
            .prop_map(|pairs| hstore(&pairs))
            .sboxed(),
        "ltree" => regex("[a-z]{1,5}(\\.[a-z0-9_]{1,5}){0,4}"),
        "lquery" => regex("\\*\\.[a-z]{1,5}"),
        "ltxtquery" => regex("[a-z]{1,5} & [a-z]{1,5}"),
        _ => return None,
    })
}

fn regex(pattern: &str) -> Texts {
    string_regex(pattern)
        .expect("patterns written here are valid")
        .sboxed()
}

/// `'word':1 'other':2`.
fn numbered(words: &[String]) -> String {
    let words = words
        .iter()
        .enumerate()
        .map(|(i, word)| format!("'{word}':{}", i + 1));
    words.collect::<Vec<_>>().join(" ")
}

fn hstore(pairs: &[(String, String)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("\"{key}\"=>\"{value}\""));
    pairs.collect::<Vec<_>>().join(", ")
}

fn characters(declared: Option<usize>, hints: &Hints, options: Options) -> Texts {
    let max_hint = hints.max_len.and_then(|n| usize::try_from(n).ok());
    let least = hints
        .min_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    let bounded = declared.into_iter().chain(max_hint).min();
    let most = bounded.unwrap_or(LONGEST.max(least + 20));
    if least > most {
        return characters(
            None,
            &Hints {
                min_len: None,
                ..hints.clone()
            },
            options,
        );
    }
    if let Some(strategy) = hints.regex.as_deref().and_then(matching) {
        let fits = move |text: &String| (least..=most).contains(&text.chars().count());
        return strategy
            .prop_filter("the length and the pattern do not go together", fits)
            .sboxed();
    }
    let between = |class: &str, range: RangeInclusive<usize>| {
        regex(&format!("[{class}]{{{},{}}}", range.start(), range.end()))
    };
    if let Some(case) = hints.letters {
        let class = if case == Case::Lower { "a-z" } else { "A-Z" };
        return between(class, least..=most.min(least + 12));
    }
    let start = text_bound(&hints.min);
    if start.is_some() || text_bound(&hints.max).is_some() {
        return prefixed(start, text_bound(&hints.max), most);
    }
    let none_of = hints.none_of.clone();
    let ordinary = least.max(1).min(most)..=most.min(least + 12);
    let wide = least..=most.min(least + 16);
    let full = most.min(BRIM).max(least);
    weighted([
        (8, between("a-z", ordinary.clone())),
        (2, between("a-zA-Z0-9 ", ordinary)),
        (u32::from(least == 0), constants(&[""])),
        (1, between("'\"\\\\;%_$\\t\\n,{}()<&-", wide.clone())),
        (
            u32::from(options.unicode),
            between(
                "\u{e0}-\u{ff}\u{3b1}-\u{3c9}\u{4e00}-\u{4e2f}\u{1f600}-\u{1f64f}",
                wide,
            ),
        ),
        (u32::from(bounded.is_some()), between("a-z", full..=full)),
    ])
    .prop_map(move |text| {
        if none_of.contains(&text) {
            "x".repeat(least.max(1))
        } else {
            text
        }
    })
    .sboxed()
}

fn text_bound(bounds: &[Bound]) -> Option<String> {
    bounds.iter().find_map(|bound| match &bound.limit {
        Limit::Text(text) => Some(text.clone()),
        Limit::Now => None,
    })
}

/// Text between two others: the bounds of partitions, mostly.
fn prefixed(start: Option<String>, end: Option<String>, most: usize) -> Texts {
    let start = start.unwrap_or_default();
    let room = most.saturating_sub(start.chars().count()).min(8);
    // Beginning with the lower bound itself is above it; below the upper one all else is kept to `a`.
    let class = if start.is_empty() && end.is_some() {
        "0"
    } else {
        "a-z"
    };
    regex(&format!("[{class}]{{0,{room}}}"))
        .prop_map(move |rest| format!("{start}{rest}"))
        .sboxed()
}

/// A strategy for a Postgres regular expression, if the two dialects agree on it.
fn matching(pattern: &str) -> Option<Texts> {
    string_regex(&translated(pattern)?)
        .ok()
        .map(Strategy::sboxed)
}

/// A pattern in which classes that mean "almost anything" are kept to plain letters and digits.
fn translated(pattern: &str) -> Option<String> {
    let body = pattern.strip_prefix('^').unwrap_or(pattern);
    let body = match body.strip_suffix('$') {
        Some(inner) if !inner.ends_with('\\') => inner,
        _ => body,
    };
    let mut out = String::new();
    let mut chars = body.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match (chars.next()?, in_class) {
                ('d', false) => out.push_str("[0-9]"),
                ('d', true) => out.push_str("0-9"),
                ('w', false) => out.push_str("[a-z0-9_]"),
                ('w', true) => out.push_str("a-zA-Z0-9_"),
                ('s', false) => out.push(' '),
                ('s', true) => out.push_str(" \\t\\n"),
                (other, _) if other.is_ascii_alphanumeric() => return None,
                (other, _) => out.extend(['\\', other]),
            },
            '[' if !in_class => {
                in_class = true;
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push_str("[a-z0-9&&[^");
                } else {
                    out.push_str("[a-zA-Z0-9 !-/:-@\\[-`{-~\u{e9}&&[");
                }
            }
            // A POSIX class such as [:alpha:] is the same in both dialects.
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for inner in chars.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if in_class => {
                in_class = false;
                out.push_str("]]");
            }
            '.' if !in_class => out.push_str("[a-z0-9]"),
            '&' | '~' if in_class => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    Some(out)
}

fn bytes(hints: &Hints) -> Texts {
    let least = hints
        .min_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    let most = hints
        .max_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(least + 32)
        .min(least + 64);
    vec(proptest::num::u8::ANY, least..=most.max(least))
        .prop_map(|bytes| {
            bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
                text.push_str(&format!("{byte:02x}"));
                text
            })
        })
        .sboxed()
}

fn json(kind: Option<&str>) -> Texts {
    use serde_json::Value;
    let word = || {
        string_regex("[a-z\"\\\\ \u{e9}]{0,8}")
            .expect("the pattern is valid")
            .prop_map(Value::from)
            .sboxed()
    };
    let number = || (-1000_i64..1000).prop_map(Value::from).sboxed();
    let boolean = || proptest::bool::ANY.prop_map(Value::from).sboxed();
    let scalar = Union::new(vec![
        word(),
        number(),
        boolean(),
        Just(Value::Null).sboxed(),
    ])
    .sboxed();
    let array = vec(scalar.clone(), 0..4).prop_map(Value::from).sboxed();
    let inner = Union::new_weighted(vec![(4, scalar), (1, array.clone())]);
    let object = vec(("[a-z]{1,6}", inner), 0..4)
        .prop_map(|pairs| pairs.into_iter().collect::<Value>())
        .sboxed();
    let values = match kind {
        Some("object") => object,
        Some("array") => array,
        Some("string") => word(),
        Some("number") => number(),
        Some("boolean") => boolean(),
        Some("null") => Just(Value::Null).sboxed(),
        _ => {
            Union::new_weighted(vec![(6, object), (1, array), (1, word()), (1, number())]).sboxed()
        }
    };
    values.prop_map(|value| value.to_string()).sboxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        let cases = [
            ("^[^@]+@[^@]+$", Some("[a-z0-9&&[^@]]+@[a-z0-9&&[^@]]+")),
            (r"^\d{3}-\d+$", Some("[0-9]{3}-[0-9]+")),
            ("a.c", Some("a[a-z0-9]c")),
            (r"\mword", None),
        ];
        for (input, expected) in cases {
            assert_eq!(translated(input).as_deref(), expected, "{input}");
        }
        assert!(
            matching("^a$|^b$").is_none(),
            "anchors inside are left to retries"
        );
        assert!(matching("^[a-z][a-z0-9_-]*[[:digit:]]$").is_some());
    }
}
