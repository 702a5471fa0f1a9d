//! Arrays, ranges, multiranges and composites: text forms made of other text forms.

use proptest::collection::vec;
use proptest::strategy::{Just, SBoxedStrategy, Strategy, Union};

use super::{Options, SqlType, Texts, compare, constants, number, texts, time, weighted};
use crate::seed::check::Hints;

/// In double quotes, with what the parsers of arrays, ranges and composites treat specially escaped.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One in eight is NULL, where that is allowed.
fn or_null(values: Texts, nullable: bool) -> SBoxedStrategy<Option<String>> {
    let values = values.prop_map(Some).sboxed();
    if nullable {
        Union::new_weighted(vec![(1, Just(None).sboxed()), (7, values)]).sboxed()
    } else {
        values
    }
}

pub(super) fn array(
    element: &SqlType,
    delimiter: char,
    hints: &Hints,
    options: Options,
) -> Result<Texts, String> {
    let elements = texts(element, &Hints::default(), options)?;
    let least = hints
        .min_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    let most = hints
        .max_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(least + 4)
        .min(least + 8);
    let elements = or_null(elements, options.extremes && !element.forbids_null());
    let delimiter = delimiter.to_string();
    Ok(vec(elements, least..=most.max(least))
        .prop_map(move |items| {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_deref().map_or("NULL".to_owned(), quoted))
                .collect();
            format!("{{{}}}", items.join(&delimiter))
        })
        .sboxed())
}

pub(super) fn range(subtype: &SqlType, hints: &Hints, options: Options) -> Result<Texts, String> {
    let short = subtype
        .base_name()
        .and_then(|name| number::spans(name).or_else(|| time::spans(name)));
    let short = short.map(|spans| {
        spans
            .prop_map(|(a, b)| format!("[{},{})", quoted(&a), quoted(&b)))
            .sboxed()
    });
    if let (true, Some(short)) = (hints.sparse, &short) {
        return Ok(short.clone());
    }
    // An infinite bound means something else inside a range, and is an edge of its own.
    let ends = texts(
        subtype,
        &Hints::default(),
        Options {
            extremes: false,
            ..options
        },
    )?;
    let ordered = subtype.clone();
    let both =
        (ends.clone(), ends.clone()).prop_map(move |(a, b)| match compare(&ordered, &a, &b) {
            Some(order) if order.is_lt() => format!("[{},{})", quoted(&a), quoted(&b)),
            Some(order) if order.is_gt() => format!("[{},{})", quoted(&b), quoted(&a)),
            // The end of a discrete range that includes it is one more: there is none after the greatest.
            Some(_) => format!("[{},)", quoted(&a)),
            None => format!("[{},{}]", quoted(&a), quoted(&a)),
        });
    let both = both.sboxed();
    Ok(weighted([
        (6, short.unwrap_or_else(|| both.clone())),
        (4, both),
        (
            1,
            ends.clone()
                .prop_map(|a| format!("[{},)", quoted(&a)))
                .sboxed(),
        ),
        (1, ends.prop_map(|a| format!("(,{})", quoted(&a))).sboxed()),
        (1, constants(&["empty", "(,)"])),
    ]))
}

pub(super) fn multirange(range: &SqlType, options: Options) -> Result<Texts, String> {
    let ranges = texts(range, &Hints::default(), options)?;
    Ok(vec(ranges, 0..3)
        .prop_map(|ranges| format!("{{{}}}", ranges.join(",")))
        .sboxed())
}

pub(super) fn composite(fields: &[(String, SqlType)], options: Options) -> Result<Texts, String> {
    let mut strategies = Vec::new();
    for (name, ty) in fields {
        let field = texts(ty, &Hints::default(), options)
            .map_err(|reason| format!("field `{name}`: {reason}"))?;
        strategies.push(or_null(field, !ty.forbids_null()));
    }
    Ok(strategies
        .prop_map(|values| {
            let values: Vec<String> = values
                .iter()
                .map(|value| value.as_deref().map_or(String::new(), quoted))
                .collect();
            format!("({})", values.join(","))
        })
        .sboxed())
}
