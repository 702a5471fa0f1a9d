//! Arrays, ranges, multiranges and composites: text forms made of other text forms.

use super::{Kind, Options, SqlType, Texts, compare, constants, number, texts, time, weighted};
use crate::seed::check::Hints;
use crate::seed::choices::Choices;

/// One element or field in this many is NULL, where that is allowed.
const NULL_IN: u32 = 8;
/// One array in this many has two dimensions, where that is wanted.
const NESTED_IN: u32 = 6;

/// Appends in double quotes, with what the parsers of arrays, ranges and composites treat specially
/// escaped.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote(text, &mut out);
    out
}

pub(super) fn array(
    element: &SqlType,
    delimiter: char,
    hints: &Hints,
    options: Options,
) -> Result<Texts, String> {
    let elements = texts(
        element,
        &Hints::default(),
        Options {
            long_in: 0,
            ..options
        },
    )?;
    let least = hints.least_len();
    let most = hints
        .most_len()
        .unwrap_or(least + 4)
        .min(least + 8)
        .max(least);
    let null_in = if options.extremes && !element.forbids_null() {
        NULL_IN
    } else {
        0
    };
    let open = hints.min_len.is_none() && hints.max_len.is_none();
    let nested_in = if options.extremes && open {
        NESTED_IN
    } else {
        0
    };
    Ok(Texts::new(move |choices, out| {
        let list = |len: usize, out: &mut String, choices: &mut Choices| {
            out.push('{');
            for at in 0..len {
                if at > 0 {
                    out.push(delimiter);
                }
                if choices.one_in(null_in) {
                    out.push_str("NULL");
                } else {
                    quote(&elements.draw(choices), out);
                }
            }
            out.push('}');
        };
        if choices.one_in(nested_in) {
            // Lower bounds are part of the value, and need not be one.
            let (rows, columns) = (choices.length(1, 3), choices.length(1, 3));
            if choices.one_in(2) {
                out.push_str(&format!("[0:{}][2:{}]=", rows - 1, columns + 1));
            }
            out.push('{');
            for row in 0..rows {
                if row > 0 {
                    out.push(delimiter);
                }
                list(columns, out, choices);
            }
            out.push('}');
        } else {
            let len = choices.length(least, most);
            list(len, out, choices);
        }
    }))
}

pub(super) fn range(subtype: &SqlType, hints: &Hints, options: Options) -> Result<Texts, String> {
    let sparse = hints.sparse;
    // The ends of a range of a domain satisfy its checks.
    let scalar = match &subtype.kind {
        Kind::Base(name) => Some(name),
        _ => None,
    };
    let short = scalar
        .and_then(|name| number::spans(name).or_else(|| time::spans(name)))
        .map(|spans| {
            Texts::new(move |choices, out| {
                let (a, b) = spans(choices, sparse);
                out.push_str(&format!("[{},{})", quoted(&a), quoted(&b)));
            })
        });
    if let (true, Some(short)) = (sparse, &short) {
        return Ok(short.clone());
    }
    // An infinite bound means something else inside a range, and is a separate edge case.
    let ends = texts(
        subtype,
        &Hints::default(),
        Options {
            extremes: false,
            long_in: 0,
            ..options
        },
    )?;
    let (ordered, of_both) = (subtype.clone(), ends.clone());
    let both = Texts::new(move |choices, out| {
        let (a, b) = (of_both.draw(choices), of_both.draw(choices));
        out.push_str(&match compare(&ordered, &a, &b) {
            Some(order) if order.is_lt() => format!("[{},{})", quoted(&a), quoted(&b)),
            Some(order) if order.is_gt() => format!("[{},{})", quoted(&b), quoted(&a)),
            // The end of a discrete range that includes it is one more: there is none after the greatest.
            Some(_) => format!("[{},)", quoted(&a)),
            None => format!("[{},{}]", quoted(&a), quoted(&a)),
        });
    });
    let of_lower = ends.clone();
    Ok(weighted([
        (6, short.unwrap_or_else(|| both.clone())),
        (4, both),
        (
            1,
            Texts::new(move |choices, out| {
                out.push_str(&format!("[{},)", quoted(&of_lower.draw(choices))));
            }),
        ),
        (
            1,
            Texts::new(move |choices, out| {
                out.push_str(&format!("(,{})", quoted(&ends.draw(choices))));
            }),
        ),
        (1, constants(&["empty", "(,)"])),
    ]))
}

pub(super) fn multirange(
    range: &SqlType,
    hints: &Hints,
    options: Options,
) -> Result<Texts, String> {
    let of_range = Hints {
        sparse: hints.sparse,
        ..Hints::default()
    };
    let ranges = texts(range, &of_range, options)?;
    let least = usize::from(hints.sparse);
    Ok(Texts::new(move |choices, out| {
        out.push('{');
        for at in 0..choices.length(least, 2) {
            if at > 0 {
                out.push(',');
            }
            ranges.append(choices, out);
        }
        out.push('}');
    }))
}

pub(super) fn composite(fields: &[(String, SqlType)], options: Options) -> Result<Texts, String> {
    let mut of_fields = Vec::new();
    for (name, ty) in fields {
        let field = texts(ty, &Hints::default(), options)
            .map_err(|reason| format!("field `{name}`: {reason}"))?;
        of_fields.push((field, if ty.forbids_null() { 0 } else { NULL_IN }));
    }
    Ok(Texts::new(move |choices, out| {
        out.push('(');
        for (at, (field, null_in)) in of_fields.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            if !choices.one_in(*null_in) {
                quote(&field.draw(choices), out);
            }
        }
        out.push(')');
    }))
}
