//! From an expression to the ways of satisfying it, in disjunctive normal form.

use std::collections::BTreeMap;

use super::expr::{Expr, parse};
use super::hints::{Bound, Case, Hints, Limit, Op};

/// More ways than this are not kept apart: the expression is left to Postgres and to retries.
const MOST: usize = 32;

/// `left op right` between two columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) left: String,
    pub(crate) op: Op,
    pub(crate) right: String,
}

/// One way of satisfying an expression: every hint and every relation holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) hints: BTreeMap<String, Hints>,
    pub(crate) relations: Vec<Relation>,
}

impl Alternative {
    fn hint(column: &str, hints: Hints) -> Vec<Self> {
        let hints = BTreeMap::from([(column.to_owned(), hints)]);
        vec![Self {
            hints,
            relations: Vec::new(),
        }]
    }

    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        for (column, hints) in &other.hints {
            let merged = both
                .hints
                .remove(column)
                .unwrap_or_default()
                .and(hints.clone())?;
            both.hints.insert(column.clone(), merged);
        }
        both.relations.extend(other.relations.iter().cloned());
        Some(both)
    }
}

/// The ways of satisfying an expression printed by `pg_get_expr`. Never empty: an expression that
/// is not understood has one way that knows nothing.
pub(crate) fn solve(text: &str) -> Vec<Alternative> {
    let ways = parse(text)
        .map(|expr| ways(&expr, true))
        .unwrap_or_default();
    if ways.is_empty() || ways.len() > MOST {
        unknown()
    } else {
        ways
    }
}

/// The ways of satisfying both; `a` alone when that would be too many or there is none.
pub(crate) fn combine(a: &[Alternative], b: &[Alternative]) -> Vec<Alternative> {
    let both = and(a, b);
    let most = MOST.max(a.len());
    if both.is_empty() || both.len() > most {
        a.to_vec()
    } else {
        both
    }
}

fn and(a: &[Alternative], b: &[Alternative]) -> Vec<Alternative> {
    a.iter()
        .flat_map(|left| b.iter().filter_map(move |right| left.and(right)))
        .collect()
}

fn unknown() -> Vec<Alternative> {
    vec![Alternative::default()]
}

fn ways(expr: &Expr, wanted: bool) -> Vec<Alternative> {
    match expr {
        Expr::Not(inner) => ways(inner, !wanted),
        Expr::And(parts) if wanted => all(parts, wanted),
        Expr::Or(parts) if !wanted => all(parts, wanted),
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().flat_map(|part| ways(part, wanted)).collect()
        }
        Expr::IsNull(inner) => match inner.as_ref() {
            Expr::Column(name) => Alternative::hint(
                name,
                Hints {
                    null: Some(wanted),
                    ..Hints::default()
                },
            ),
            // A member that is not NULL is there.
            Expr::Binary(op, left, right) if !wanted => member(op, left, right, None),
            _ => unknown(),
        },
        Expr::Column(name) => one_of(name, &[if wanted { "t" } else { "f" }.to_owned()], true),
        Expr::Text(text) if (text == "t") == wanted => unknown(),
        Expr::Text(text) if text == "t" || text == "f" => Vec::new(),
        Expr::Each {
            op,
            all,
            left,
            right,
        } => each(op, *all, left, right, wanted),
        Expr::Binary(op, left, right) => match Op::parse(op) {
            Some(op) => compare(left, if wanted { op } else { op.negate() }, right),
            None if wanted => matching(op, left, right),
            None => unknown(),
        },
        _ => unknown(),
    }
}

fn all(parts: &[Expr], wanted: bool) -> Vec<Alternative> {
    let mut result = unknown();
    for part in parts {
        let next = and(&result, &ways(part, wanted));
        if next.len() <= MOST {
            result = next;
        }
    }
    result
}

fn one_of(column: &str, values: &[String], allowed: bool) -> Vec<Alternative> {
    let mut hints = Hints::default();
    if allowed {
        hints.one_of = Some(values.to_vec());
    } else {
        hints.none_of = values.to_vec();
    }
    Alternative::hint(column, hints)
}

/// `column op ANY (constants)`.
fn each(op: &str, all: bool, left: &Expr, right: &Expr, wanted: bool) -> Vec<Alternative> {
    let values = match right {
        Expr::Array(items) => items.iter().map(constant_text).collect::<Option<Vec<_>>>(),
        Expr::Text(array) => plain_array(array),
        _ => None,
    };
    let Some(values) = values else {
        return unknown();
    };
    let name = match left {
        Expr::Column(name) => name,
        Expr::Binary(arrow, column, key) if (op, all, wanted) == ("=", false, true) => {
            let ways = values.iter();
            return ways
                .flat_map(|value| member(arrow, column, key, Some(value)))
                .collect();
        }
        _ => return unknown(),
    };
    match (op, all) {
        ("=", false) => one_of(name, &values, wanted),
        ("<>", true) => one_of(name, &values, !wanted),
        ("~~", false) if wanted => values
            .iter()
            .flat_map(|pattern| regex(name, like_to_regex(pattern)))
            .collect(),
        _ => unknown(),
    }
}

fn constant_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The elements of an array literal that needs no quotes.
fn plain_array(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.contains(['"', '\\', '{']) {
        return None;
    }
    Some(inner.split(',').map(str::to_owned).collect())
}

fn compare(left: &Expr, op: Op, right: &Expr) -> Vec<Alternative> {
    if is_condition(left) && is_condition(right) && matches!(op, Op::Eq | Op::Ne) {
        let same = op == Op::Eq;
        let mut result = and(&ways(left, true), &ways(right, same));
        result.extend(and(&ways(left, false), &ways(right, !same)));
        return result;
    }
    match (left, right) {
        (Expr::Column(a), Expr::Column(b)) => {
            let relation = Relation {
                left: a.clone(),
                op,
                right: b.clone(),
            };
            vec![Alternative {
                hints: BTreeMap::new(),
                relations: vec![relation],
            }]
        }
        (Expr::Column(name), _) => match limit(right) {
            Some(limit) => bound(name, op, limit),
            None => cased(left, op, right),
        },
        (_, Expr::Column(name)) => match limit(left) {
            Some(limit) => bound(name, op.flip(), limit),
            None => cased(right, op, left),
        },
        (Expr::Binary(arrow, column, key), Expr::Text(text)) if op == Op::Eq => {
            member(arrow, column, key, Some(text))
        }
        (Expr::Call(function, arguments), Expr::Text(text)) => {
            called(function, arguments, op, text)
        }
        (Expr::Text(text), Expr::Call(function, arguments)) => {
            called(function, arguments, op.flip(), text)
        }
        _ => unknown(),
    }
}

fn is_condition(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsNull(_) | Expr::Not(_) | Expr::And(_) | Expr::Or(_) | Expr::Each { .. }
    ) || matches!(expr, Expr::Binary(op, ..) if Op::parse(op).is_some())
}

/// A constant; a span from now counts as now.
fn limit(expr: &Expr) -> Option<Limit> {
    match expr {
        Expr::Text(text) => Some(Limit::Text(text.clone())),
        Expr::Now => Some(Limit::Now),
        Expr::Binary(op, left, right) if op == "+" || op == "-" => {
            (limit(left)? == Limit::Now && constant_text(right).is_some()).then_some(Limit::Now)
        }
        _ => None,
    }
}

fn bound(column: &str, op: Op, limit: Limit) -> Vec<Alternative> {
    let mut hints = Hints::default();
    let inclusive = matches!(op, Op::Le | Op::Ge);
    match (op, limit) {
        (Op::Eq, Limit::Text(text)) => return one_of(column, &[text], true),
        (Op::Ne, Limit::Text(text)) => {
            if text.is_empty() {
                hints.min_len = Some(1);
            }
            hints.none_of = vec![text];
        }
        (Op::Lt | Op::Le, limit) => hints.max.push(Bound { limit, inclusive }),
        (Op::Gt | Op::Ge, limit) => hints.min.push(Bound { limit, inclusive }),
        (Op::Eq | Op::Ne, Limit::Now) => return unknown(),
    }
    Alternative::hint(column, hints)
}

/// `x = lower(x)` and the like.
fn cased(column: &Expr, op: Op, call: &Expr) -> Vec<Alternative> {
    let (Expr::Column(name), Expr::Call(function, arguments)) = (column, call) else {
        return unknown();
    };
    if op != Op::Eq || arguments.first() != Some(column) {
        return unknown();
    }
    let letters = match function.as_str() {
        "lower" | "btrim" | "ltrim" | "rtrim" => Case::Lower,
        "upper" => Case::Upper,
        _ => return unknown(),
    };
    Alternative::hint(
        name,
        Hints {
            letters: Some(letters),
            ..Hints::default()
        },
    )
}

/// `function(column) op constant`.
fn called(function: &str, arguments: &[Expr], op: Op, constant: &str) -> Vec<Alternative> {
    if let Some(nulls) = match function {
        "num_nulls" => Some(true),
        "num_nonnulls" => Some(false),
        _ => None,
    } {
        return counted(arguments, nulls, op, constant);
    }
    let (name, trimmed) = match arguments.first() {
        Some(Expr::Column(name)) => (name, false),
        Some(Expr::Call(inner, inner_arguments)) => match (inner.as_str(), inner_arguments.first())
        {
            ("btrim" | "ltrim" | "rtrim" | "lower" | "upper", Some(Expr::Column(name))) => {
                (name, true)
            }
            _ => return unknown(),
        },
        _ => return unknown(),
    };
    let mut hints = Hints::default();
    if trimmed {
        hints.letters = Some(Case::Lower);
    }
    match function {
        "length" | "char_length" | "character_length" | "octet_length" | "bit_length"
        | "cardinality" | "array_length" => {
            let Ok(n) = constant.parse::<i64>() else {
                return unknown();
            };
            let n = if function == "bit_length" { n / 8 } else { n };
            (hints.min_len, hints.max_len) = match op {
                Op::Lt => (None, Some(n - 1)),
                Op::Le => (None, Some(n)),
                Op::Eq => (Some(n), Some(n)),
                Op::Ge => (Some(n), None),
                Op::Gt => (Some(n + 1), None),
                Op::Ne if n == 0 => (Some(1), None),
                Op::Ne => return unknown(),
            };
            if function == "array_length" && hints.min_len.is_none() {
                // NULL for the empty array, which a CHECK accepts too.
                hints.min_len = Some(1);
            }
        }
        "btrim" | "ltrim" | "rtrim" if op == Op::Ne && constant.is_empty() => {
            hints.letters = Some(Case::Lower);
            hints.min_len = Some(1);
        }
        "jsonb_typeof" | "json_typeof" if op == Op::Eq => hints.json = Some(constant.to_owned()),
        _ => return unknown(),
    }
    Alternative::hint(name, hints)
}

/// `num_nonnulls(a, b, ...) op n`: every choice of NULL columns with the right count.
fn counted(arguments: &[Expr], nulls: bool, op: Op, constant: &str) -> Vec<Alternative> {
    let names: Option<Vec<&String>> = arguments
        .iter()
        .map(|argument| match argument {
            Expr::Column(name) => Some(name),
            _ => None,
        })
        .collect();
    let (Some(names), Ok(n)) = (names, constant.parse::<u32>()) else {
        return unknown();
    };
    if names.len() > 6 {
        return unknown();
    }
    let choices = 0..1_u32 << names.len();
    choices
        .filter(|choice| op.holds(choice.count_ones().cmp(&n)))
        .map(|choice| {
            let hints = names.iter().enumerate().map(|(i, name)| {
                let null = (choice >> i & 1 == 1) == nulls;
                (
                    (*name).clone(),
                    Hints {
                        null: Some(null),
                        ..Hints::default()
                    },
                )
            });
            Alternative {
                hints: hints.collect(),
                relations: Vec::new(),
            }
        })
        .collect()
}

/// `column ->> 'key'`, which has to be there, and with that value if one is given.
fn member(arrow: &str, column: &Expr, key: &Expr, value: Option<&str>) -> Vec<Alternative> {
    match (arrow, column, key) {
        ("->" | "->>", Expr::Column(name), Expr::Text(key)) => {
            // Behind `->` a value is JSON, which a text may not be.
            let value = value.filter(|_| arrow == "->>").map(str::to_owned);
            keys(name, vec![(key.clone(), value)])
        }
        _ => unknown(),
    }
}

fn keys(column: &str, keys: Vec<(String, Option<String>)>) -> Vec<Alternative> {
    Alternative::hint(
        column,
        Hints {
            keys,
            ..Hints::default()
        },
    )
}

/// `column ? 'key'`, `column ?& array` and `column ?| array`.
fn has_keys(op: &str, column: &str, right: &Expr) -> Vec<Alternative> {
    let names = match right {
        Expr::Text(key) if op == "?" => Some(vec![key.clone()]),
        Expr::Text(array) => plain_array(array),
        Expr::Array(items) => items.iter().map(constant_text).collect(),
        _ => None,
    };
    let Some(names) = names else {
        return unknown();
    };
    let named = names.into_iter().map(|name| (name, None));
    match op {
        "?|" => named.flat_map(|key| keys(column, vec![key])).collect(),
        _ => keys(column, named.collect()),
    }
}

/// `column ~ 'regex'`, LIKE, and keys of JSON.
fn matching(op: &str, left: &Expr, right: &Expr) -> Vec<Alternative> {
    if let ("?" | "?&" | "?|", Expr::Column(name)) = (op, left) {
        return has_keys(op, name, right);
    }
    let (Expr::Column(name), Expr::Text(pattern)) = (left, right) else {
        return unknown();
    };
    match op {
        "~" | "~*" => regex(name, pattern.clone()),
        "~~" | "~~*" => regex(name, like_to_regex(pattern)),
        _ => unknown(),
    }
}

fn regex(column: &str, pattern: String) -> Vec<Alternative> {
    Alternative::hint(
        column,
        Hints {
            regex: Some(pattern),
            ..Hints::default()
        },
    )
}

fn like_to_regex(pattern: &str) -> String {
    let mut regex = String::from("^");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => regex.push_str("[a-z0-9]{0,6}"),
            '_' => regex.push_str("[a-z0-9]"),
            _ => {
                let c = if c == '\\' {
                    chars.next().unwrap_or(c)
                } else {
                    c
                };
                if !c.is_alphanumeric() && c.is_ascii() && !c.is_whitespace() {
                    regex.push('\\');
                }
                regex.push(c);
            }
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests;
