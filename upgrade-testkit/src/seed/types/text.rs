//! Character types, bytea, json, xml, full-text search and the text-like extension types.

use std::fmt::Write as _;

use proptest::strategy::Strategy as _;
use proptest::string::string_regex;

use super::{Options, Texts, constants, weighted};
use crate::seed::check::{Bound, Case, Hints, Limit};
use crate::seed::choices::Choices;

/// How long unbounded text may get: keys of indexes must stay below a third of a page.
const LONGEST: usize = 60;
/// The longest text that is filled to the brim.
const BRIM: usize = 255;
/// Lengths of text that is stored out of line: a quarter of a page is the limit, and letters drawn at
/// random are compressed to no less than half.
const OUT_OF_LINE: (usize, usize) = (4_200, 20_000);

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints, options: Options) -> Option<Texts> {
    let declared = usize::try_from(typmod - 4).ok();
    Some(match name {
        "text" | "citext" => characters(None, hints, options),
        "varchar" | "bpchar" => characters(declared, hints, options),
        "name" => characters(Some(15), hints, options),
        "char" => Texts::new(|choices, out| word(choices, out, WORD, 1, 1)),
        "refcursor" => words(1, 12),
        "bytea" => bytes(hints),
        "json" | "jsonb" if !hints.keys.is_empty() => with_keys(hints.keys.clone()),
        "json" | "jsonb" => json(hints.json.as_deref()),
        "jsonpath" => constants(&["$", "$.a", "$.a[*].b", "$.** ? (@ > 1)"]),
        "xml" => Texts::new(|choices, out| {
            out.push_str("<a b=\"");
            word(choices, out, LOWER, 0, 5);
            out.push_str("\">");
            word(choices, out, "abcdefghijklmnopqrstuvwxyz ", 0, 9);
            out.push_str(if choices.one_in(2) {
                "<c/></a>"
            } else {
                "</a>"
            });
        }),
        "tsvector" => Texts::new(|choices, out| {
            for at in 1..=choices.length(0, 4) {
                out.push('\'');
                word(choices, out, LOWER, 1, 7);
                let _ = write!(out, "':{at} ");
            }
        }),
        "tsquery" => Texts::new(|choices, out| {
            word(choices, out, LOWER, 2, 7);
            for _ in 0..choices.length(0, 2) {
                out.push_str(choices.text(&[" & ", " | ", " & !", " <-> "]));
                word(choices, out, LOWER, 2, 7);
            }
        }),
        "hstore" => Texts::new(|choices, out| {
            for at in 0..choices.length(0, 2) {
                out.push_str(if at > 0 { ", \"" } else { "\"" });
                word(choices, out, LOWER, 1, 5);
                out.push_str("\"=>");
                if choices.one_in(8) {
                    out.push_str("NULL");
                } else {
                    out.push('"');
                    word(choices, out, "abcdefghijklmnopqrstuvwxyz ", 0, 5);
                    out.push('"');
                }
            }
        }),
        "ltree" => Texts::new(|choices, out| {
            word(choices, out, LOWER, 1, 5);
            for _ in 0..choices.length(0, 4) {
                out.push('.');
                word(choices, out, "abcdefghijklmnopqrstuvwxyz0123456789_", 1, 5);
            }
        }),
        "lquery" => prefixed_word("*."),
        "ltxtquery" => prefixed_word("a & "),
        "query_int" => Texts::new(|choices, out| {
            let _ = write!(out, "{}", choices.below(100));
            for _ in 0..choices.length(0, 2) {
                out.push_str(choices.text(&["&", "|", "&!"]));
                let _ = write!(out, "{}", choices.below(100));
            }
        }),
        "ean13" | "isbn13" | "ismn13" | "issn13" | "isbn" | "ismn" | "issn" | "upc" => {
            product_number(name)
        }
        _ => return None,
    })
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const WORD: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Appends between `least` and `most` characters of an ASCII alphabet.
fn word(choices: &mut Choices, out: &mut String, alphabet: &str, least: usize, most: usize) {
    for _ in 0..choices.length(least, most) {
        out.push(char::from(*choices.pick(alphabet.as_bytes())));
    }
}

fn words(least: usize, most: usize) -> Texts {
    Texts::new(move |choices, out| word(choices, out, LOWER, least, most))
}

fn prefixed_word(prefix: &'static str) -> Texts {
    Texts::new(move |choices, out| {
        out.push_str(prefix);
        word(choices, out, LOWER, 1, 5);
    })
}

/// Numbers of goods as the extension `isn` reads them; a missing check digit is `?`, which it fills in.
fn product_number(name: &str) -> Texts {
    let (prefix, digits) = match name {
        "isbn13" | "isbn" => ("978", 9),
        "ismn13" | "ismn" => ("9790", 8),
        "issn13" | "issn" => ("977", 9),
        "upc" => ("0", 11),
        // Not one of the prefixes above, which belong to separate types.
        _ => ("4", 11),
    };
    Texts::new(move |choices, out| {
        let start = out.len();
        out.push_str(prefix);
        for _ in 0..digits {
            out.push(char::from(b'0' + choices.below(10) as u8));
        }
        // From the right, every other digit counts three times.
        let sum: u32 = out.as_bytes()[start..]
            .iter()
            .zip([1, 3].into_iter().cycle())
            .map(|(digit, weight)| u32::from(digit - b'0') * weight)
            .sum();
        out.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    })
}

fn characters(declared: Option<usize>, hints: &Hints, options: Options) -> Texts {
    let least = hints.least_len();
    let bounded = declared.into_iter().chain(hints.most_len()).min();
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
        let fits = move |text: &str| (least..=most).contains(&text.chars().count());
        return Texts::foreign(strategy, fits);
    }
    let between = |alphabet: &'static str, least: usize, most: usize| {
        Texts::new(move |choices, out| word(choices, out, alphabet, least, most))
    };
    let longest = bounded.unwrap_or(usize::MAX).min(options.room).max(least);
    if let Some(case) = hints.letters {
        let alphabet = if case == Case::Lower { LOWER } else { UPPER };
        return between(alphabet, least, most.min(least + 12))
            .with_limits([filled(alphabet, longest), filled(alphabet, least.max(1))]);
    }
    let (start, end) = (text_bound(&hints.min), text_bound(&hints.max));
    if start.is_some() || end.is_some() {
        return prefixed(start, end, most);
    }
    let ordinary = (least.max(1).min(most), most.min(least + 12));
    let wide = most.min(least + 16);
    let full = most.min(BRIM).max(least);
    let texts = weighted([
        (8, between(LOWER, ordinary.0, ordinary.1)),
        (
            2,
            between(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ",
                ordinary.0,
                ordinary.1,
            ),
        ),
        (u32::from(least == 0), constants(&[""])),
        (1, between("'\"\\;%_$\t\n,{}()<&-", least, wide)),
        (
            u32::from(options.unicode),
            Texts::new(move |choices, out| foreign_letters(choices, out, least, wide)),
        ),
        (u32::from(bounded.is_some()), between(LOWER, full, full)),
    ]);
    let mut limits = vec![filled(LOWER, longest), filled(UPPER, least)];
    let mut shapes = vec![" x ", "'\"\\;%"];
    if options.unicode {
        shapes.push("\u{c9}t\u{e9}");
    }
    limits.extend(shapes.into_iter().map(str::to_owned));
    limits.retain(|limit| {
        (least..=longest).contains(&limit.chars().count()) && !hints.none_of.contains(limit)
    });
    let (none_of, open) = (hints.none_of.clone(), bounded.is_none());
    let long_in = if open { options.long_in } else { 0 };
    Texts::new(move |choices, out| {
        if choices.one_in(long_in) {
            return word(choices, out, WORD, OUT_OF_LINE.0, OUT_OF_LINE.1);
        }
        let start = out.len();
        texts.append(choices, out);
        if none_of.iter().any(|text| text == &out[start..]) {
            out.truncate(start);
            out.extend(std::iter::repeat_n('x', least.max(1)));
        }
    })
    .with_limits(limits)
}

/// Letters up to a length, in an order that is not easily compressed.
fn filled(alphabet: &str, len: usize) -> String {
    let letters = alphabet.as_bytes();
    let at = |place: usize| letters[(place * place + place / 7) % letters.len()];
    (0..len).map(|place| char::from(at(place))).collect()
}

/// Letters beyond ASCII, of two to four bytes: with precomposed and with combining accents, Greek,
/// written from right to left, Chinese, and emoji.
fn foreign_letters(choices: &mut Choices, out: &mut String, least: usize, most: usize) {
    const BLOCKS: [(u32, u32); 7] = [
        (0xe0, 0xff),
        (0x3b1, 0x3c9),
        (0x300, 0x304),
        (0x5d0, 0x5ea),
        (0x627, 0x64a),
        (0x4e00, 0x4e2f),
        (0x1f600, 0x1f64f),
    ];
    for _ in 0..choices.length(least, most) {
        let (first, last) = *choices.pick(&BLOCKS);
        let code = choices.between(first.into(), last.into());
        let letter = u32::try_from(code).ok().and_then(char::from_u32);
        out.push(letter.unwrap_or('\u{e9}'));
    }
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
    // Beginning with the lower bound itself is above it; below the upper one all else is kept to zeros.
    let alphabet = if start.is_empty() && end.is_some() {
        "0"
    } else {
        LOWER
    };
    Texts::new(move |choices, out| {
        out.push_str(&start);
        word(choices, out, alphabet, 0, room);
    })
}

/// A strategy for a Postgres regular expression, if the two dialects agree on it.
fn matching(pattern: &str) -> Option<proptest::strategy::SBoxedStrategy<String>> {
    string_regex(&translated(pattern)?)
        .ok()
        .map(|strategy| strategy.sboxed())
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
    let least = hints.least_len();
    let most = hints
        .most_len()
        .unwrap_or(least + 32)
        .min(least + 64)
        .max(least);
    Texts::new(move |choices, out| {
        out.push_str("\\x");
        for _ in 0..choices.length(least, most) {
            let _ = write!(out, "{:02x}", choices.below(256));
        }
    })
    .with_limits([most, least].map(|len| format!("\\x{}", "ff".repeat(len))))
}

/// An object with some keys, and others.
fn with_keys(keys: Vec<(String, Option<String>)>) -> Texts {
    Texts::new(move |choices, out| {
        out.push('{');
        for (at, (key, text)) in keys.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            let _ = write!(out, "{}:", serde_json::Value::from(key.as_str()));
            match text {
                Some(text) => {
                    let _ = write!(out, "{}", serde_json::Value::from(text.as_str()));
                }
                None => {
                    // A letter more than nothing: a CHECK may ask for that as well.
                    out.push('"');
                    word(choices, out, LOWER, 1, 8);
                    out.push('"');
                }
            }
        }
        for at in 0..choices.length(0, 2) {
            // The place makes the key unique.
            out.push_str(",\"");
            word(choices, out, LOWER, 1, 5);
            let _ = write!(out, "{at}\":");
            value(choices, out, Json::Number);
        }
        out.push('}');
    })
}

/// A value of a kind that `jsonb_typeof` names, or of any.
fn json(kind: Option<&str>) -> Texts {
    let kind = match kind {
        Some("object") => Json::Object,
        Some("array") => Json::Array,
        Some("string") => Json::String,
        Some("number") => Json::Number,
        Some("boolean") => Json::Boolean,
        Some("null") => Json::Null,
        _ => {
            return Texts::new(|choices, out| {
                const KINDS: [Json; 9] = [
                    Json::Object,
                    Json::Object,
                    Json::Object,
                    Json::Object,
                    Json::Object,
                    Json::Object,
                    Json::Array,
                    Json::String,
                    Json::Number,
                ];
                let kind = *choices.pick(&KINDS);
                value(choices, out, kind);
            });
        }
    };
    Texts::new(move |choices, out| value(choices, out, kind))
}

#[derive(Clone, Copy)]
enum Json {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

fn value(choices: &mut Choices, out: &mut String, kind: Json) {
    const SCALARS: [Json; 4] = [Json::String, Json::Number, Json::Boolean, Json::Null];
    match kind {
        Json::Object => {
            out.push('{');
            for at in 0..choices.length(0, 3) {
                // The place makes the key unique: `json` would keep both of two equal ones.
                out.push_str(if at > 0 { ",\"" } else { "\"" });
                word(choices, out, LOWER, 1, 5);
                let _ = write!(out, "{at}\":");
                let kind = SCALARS.get(choices.place(5)).copied();
                let kind = kind.unwrap_or(Json::Array);
                value(choices, out, kind);
            }
            out.push('}');
        }
        Json::Array => {
            out.push('[');
            for at in 0..choices.length(0, 3) {
                if at > 0 {
                    out.push(',');
                }
                let kind = *choices.pick(&SCALARS);
                value(choices, out, kind);
            }
            out.push(']');
        }
        Json::String => {
            let mut text = String::new();
            for _ in 0..choices.length(0, 8) {
                let letters = ['a', 'b', 'c', 'x', 'y', 'z', ' ', '"', '\\', '\u{e9}'];
                text.push(*choices.pick(&letters));
            }
            let _ = write!(out, "{}", serde_json::Value::from(text));
        }
        Json::Number => {
            let _ = write!(out, "{}", choices.between(-1000, 999));
        }
        Json::Boolean => out.push_str(choices.text(&["true", "false"])),
        Json::Null => out.push_str("null"),
    }
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
