//! A strategy for every Postgres type: its values as text, edge cases included on purpose.
//!
//! What every type gets: ordinary values most of the time, and now and then its least and greatest,
//! zero, empty, the longest, and text beyond ASCII. NaN, infinities and the like are drawn only on
//! request ([`Options::extremes`]), as many drivers cannot read them.

mod compound;
mod geometry;
mod network;
mod number;
mod order;
mod system;
mod text;
mod time;

use super::check::{Alternative, Bound, Case, Hints, Limit, solve};
use super::choices::{Choices, Texts};

pub(crate) use order::compare;

/// What holds for all types of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The database can hold text beyond ASCII.
    pub(crate) unicode: bool,
    /// Draw NaN, infinities, NULL array elements and arrays of several dimensions.
    pub(crate) extremes: bool,
    /// One unbounded text in this many is of a length that is stored out of line; none for zero.
    pub(crate) long_in: u32,
    /// How many characters a text may have at most: keys of indexes must stay below a third of a
    /// page.
    pub(crate) room: usize,
    /// The server's version, as `server_version_num` gives it.
    pub(crate) version: i32,
}

/// A type as the catalog describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SqlType {
    /// As `format_type` prints it without a length; a cast to it changes no value.
    pub(crate) name: String,
    /// Length, precision and the like; -1 when there is none.
    pub(crate) typmod: i32,
    pub(crate) kind: Kind,
}

/// What columns that refer to another one can hold of its values; all where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The longest text, in characters.
    length: Option<i64>,
    /// The greatest whole number; the least is one less than its negative.
    whole: Option<i64>,
    /// Spaces at the end of a text are lost.
    pub(crate) padded: bool,
}

impl Held {
    /// What both can hold.
    pub(crate) fn and(self, other: Self) -> Self {
        let least = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        Self {
            length: least(self.length, other.length),
            whole: least(self.whole, other.whole),
            padded: self.padded || other.padded,
        }
    }

    pub(crate) fn hints(self) -> Hints {
        let bound = |limit: i64| Bound {
            limit: Limit::Text(limit.to_string()),
            inclusive: true,
        };
        Hints {
            max_len: self.length,
            letters: self.padded.then_some(Case::Lower),
            min: self
                .whole
                .map(|most| bound(-most - 1))
                .into_iter()
                .collect(),
            max: self.whole.map(bound).into_iter().collect(),
            ..Hints::default()
        }
    }
}

/// What sort of type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A scalar, by its `typname`.
    Base(String),
    Enum(Vec<String>),
    Domain {
        base: Box<SqlType>,
        not_null: bool,
        checks: Vec<String>,
    },
    Array {
        element: Box<SqlType>,
        delimiter: char,
    },
    Range(Box<SqlType>),
    /// The range that it has many of.
    Multirange(Box<SqlType>),
    Composite(Vec<(String, SqlType)>),
    /// Pseudo-types and types that refer to themselves.
    Unknown,
}

impl SqlType {
    /// Whether a domain on the way to the base type forbids NULL.
    pub(crate) fn forbids_null(&self) -> bool {
        match &self.kind {
            Kind::Domain { base, not_null, .. } => *not_null || base.forbids_null(),
            _ => false,
        }
    }

    /// What a column of this type can hold, where other types hold more.
    pub(crate) fn holds(&self) -> Held {
        match &self.kind {
            Kind::Domain { base, .. } => base.holds(),
            Kind::Base(name) => match name.as_str() {
                "varchar" | "bpchar" => Held {
                    length: (self.typmod > 4).then(|| i64::from(self.typmod - 4)),
                    padded: name == "bpchar",
                    ..Held::default()
                },
                "int2" => Held {
                    whole: Some(i16::MAX.into()),
                    ..Held::default()
                },
                "int4" => Held {
                    whole: Some(i32::MAX.into()),
                    ..Held::default()
                },
                _ => Held::default(),
            },
            _ => Held::default(),
        }
    }

    /// The `typname` under all domains, if it is a scalar.
    pub(crate) fn base_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Base(name) => Some(name),
            Kind::Domain { base, .. } => base.base_name(),
            _ => None,
        }
    }
}

/// A strategy for the non-NULL values of a type that fit the hints, or what is missing for one.
pub(crate) fn texts(ty: &SqlType, hints: &Hints, options: Options) -> Result<Texts, String> {
    if let Kind::Domain { base, checks, .. } = &ty.kind {
        if ty.name.ends_with("earth") && base.base_name() == Some("cube") {
            // Its check asks for a point at a certain distance, with a tolerance of a hair.
            return Ok(geometry::earth());
        }
        return domain(base, checks, hints, options);
    }
    if let Some(values) = &hints.one_of {
        return Ok(one_of(values.clone()));
    }
    match &ty.kind {
        Kind::Base(name) => scalar(name, ty.typmod, hints, options),
        Kind::Enum(labels) => {
            let labels: Vec<String> = labels
                .iter()
                .filter(|label| !hints.none_of.contains(label))
                .cloned()
                .collect();
            if labels.is_empty() {
                return Err("the enum has no label that is allowed".to_owned());
            }
            Ok(one_of(labels))
        }
        Kind::Array { element, delimiter } => compound::array(element, *delimiter, hints, options),
        Kind::Range(subtype) => compound::range(subtype, hints, options),
        Kind::Multirange(range) => compound::multirange(range, hints, options),
        Kind::Composite(fields) => compound::composite(fields, options),
        Kind::Domain { .. } | Kind::Unknown => Err("no strategy for this type".to_owned()),
    }
}

fn scalar(name: &str, typmod: i32, hints: &Hints, options: Options) -> Result<Texts, String> {
    let found = number::texts(name, typmod, hints, options)
        .or_else(|| text::texts(name, typmod, hints, options))
        .or_else(|| time::texts(name, hints, options))
        .or_else(|| network::texts(name, hints))
        .or_else(|| geometry::texts(name, typmod, hints))
        .or_else(|| system::texts(name, typmod, hints));
    match found {
        Some(texts) => Ok(texts),
        None => Err("no strategy for this type".to_owned()),
    }
}

/// A domain: each way of satisfying its checks that agrees with the hints.
fn domain(
    base: &SqlType,
    checks: &[String],
    hints: &Hints,
    options: Options,
) -> Result<Texts, String> {
    let mut ways = vec![Alternative::default()];
    for check in checks {
        ways = super::check::combine(&ways, &solve(check));
    }
    let mut strategies = Vec::new();
    for way in ways {
        let of_value = way
            .hints
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("value"));
        let of_value = of_value.map(|(_, hints)| hints.clone()).unwrap_or_default();
        if of_value.null == Some(true) {
            continue;
        }
        if let Some(both) = hints.clone().and(Hints {
            null: None,
            ..of_value
        }) {
            strategies.push(texts(base, &both, options)?);
        }
    }
    if strategies.is_empty() {
        return texts(base, hints, options);
    }
    Ok(weighted(strategies.into_iter().map(|texts| (1, texts))))
}

/// A choice by weight; entries of weight zero are dropped, and one is left.
fn weighted(choices: impl IntoIterator<Item = (u32, Texts)>) -> Texts {
    let mut choices: Vec<(u64, Texts)> = choices
        .into_iter()
        .filter(|(weight, _)| *weight > 0)
        .map(|(weight, texts)| (weight.into(), texts))
        .collect();
    if choices.len() == 1
        && let Some((_, only)) = choices.pop()
    {
        return only;
    }
    let total = choices.iter().map(|(weight, _)| weight).sum();
    let mut limits: Vec<String> = Vec::new();
    for limit in choices.iter().flat_map(|(_, texts)| texts.limits()) {
        if !limits.contains(limit) {
            limits.push(limit.clone());
        }
    }
    Texts::new(move |source, out| {
        let mut at = source.below(total);
        for (weight, texts) in &choices {
            if at < *weight {
                return texts.append(source, out);
            }
            at -= weight;
        }
    })
    .with_limits(limits)
}

/// Draws two values, the first less than the second by little; far from others if need be.
type Spans = fn(&mut Choices, bool) -> (String, String);

/// One of some constants.
fn constants(values: &'static [&'static str]) -> Texts {
    Texts::new(move |source, out| out.push_str(source.text(values)))
}

/// One of some values.
fn one_of(values: Vec<String>) -> Texts {
    let limits = values.clone();
    Texts::new(move |source, out| out.push_str(source.pick(values.as_slice()).as_str()))
        .with_limits(limits)
}

#[cfg(test)]
mod tests;
