//! Points, lines and areas.

use std::fmt::Write as _;

use super::Texts;
use crate::seed::check::Hints;
use crate::seed::choices::Choices;

/// The radius of the earth in metres, as `earthdistance` takes it.
const EARTH: f64 = 6_378_168.0;

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints) -> Option<Texts> {
    // An exclusion constraint wants them small and far from each other.
    let (spread, size) = if hints.sparse {
        (2_000_000, 3)
    } else {
        (2_000, 100)
    };
    let half = move |choices: &mut Choices| halves(choices, spread);
    let point = move |choices: &mut Choices, out: &mut String| {
        let (x, y) = (half(choices), half(choices));
        let _ = write!(out, "({x},{y})");
    };
    // Points near one, so that the area is small.
    let points = move |choices: &mut Choices, out: &mut String, count: usize| {
        let (x, y) = (half(choices), half(choices));
        for at in 0..count {
            let (dx, dy) = (halves(choices, size), halves(choices, size));
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(out, "{comma}({},{})", x + dx, y + dy);
        }
    };
    Some(match name {
        "point" => Texts::new(point),
        "box" => Texts::new(move |choices, out| points(choices, out, 2)),
        "lseg" => Texts::new(move |choices, out| {
            out.push('[');
            points(choices, out, 2);
            out.push(']');
        }),
        "line" => Texts::new(move |choices, out| {
            let (a, b) = (choices.between(1, 49), choices.between(-50, 49));
            let _ = write!(out, "{{{a},{b},{}}}", half(choices));
        }),
        "circle" => Texts::new(move |choices, out| {
            out.push('<');
            point(choices, out);
            let _ = write!(out, ",{}>", choices.between(0, size));
        }),
        "polygon" => Texts::new(move |choices, out| {
            out.push('(');
            let count = choices.length(3, 5);
            points(choices, out, count);
            out.push(')');
        }),
        "path" => Texts::new(move |choices, out| {
            let open = choices.one_in(2);
            let count = choices.length(2, 5);
            out.push(if open { '[' } else { '(' });
            points(choices, out, count);
            out.push(if open { ']' } else { ')' });
        }),
        "cube" => Texts::new(move |choices, out| {
            let corners = choices.length(1, 2);
            let dimensions = choices.length(1, 3);
            for corner in 0..corners {
                out.push_str(if corner > 0 { ",(" } else { "(" });
                list(out, dimensions, |_| half(choices));
                out.push(')');
            }
        }),
        "seg" => Texts::new(move |choices, out| {
            let low = half(choices);
            let _ = match choices.below(4) {
                0 => write!(out, "{low}"),
                1 => write!(
                    out,
                    "{low} .. {}",
                    low + f64::from(choices.between(0, size) as i32)
                ),
                2 => write!(out, "{low} .."),
                _ => write!(out, ".. {low}"),
            };
        }),
        "vector" | "halfvec" => Texts::new(move |choices, out| {
            out.push('[');
            // Halfvec has eleven bits: these are exact.
            list(out, dimensions(typmod), |_| halves(choices, 100));
            out.push(']');
        }),
        "sparsevec" => Texts::new(move |choices, out| {
            let dimensions = dimensions(typmod);
            out.push('{');
            let mut comma = "";
            for at in 1..=dimensions {
                let value = halves(choices, 100);
                // An index is named once, in order, and never with zero.
                if choices.one_in(3) && value != 0.0 {
                    let _ = write!(out, "{comma}{at}:{value}");
                    comma = ",";
                }
            }
            let _ = write!(out, "}}/{dimensions}");
        }),
        _ => return None,
    })
}

/// Places on the globe of `earthdistance`: on its three great circles, by a triple of Pythagoras.
pub(super) fn earth() -> Texts {
    Texts::new(|choices, out| {
        let (a, b) = *choices.pick(&[
            (0.0, 1.0),
            (0.6, 0.8),
            (0.8, 0.6),
            (0.28, 0.96),
            (0.96, 0.28),
        ]);
        let sign = |choices: &mut Choices| if choices.one_in(2) { -EARTH } else { EARTH };
        let (a, b) = (a * sign(choices), b * sign(choices));
        let _ = match choices.below(3) {
            0 => write!(out, "({a}, {b}, 0)"),
            1 => write!(out, "(0, {a}, {b})"),
            _ => write!(out, "({b}, 0, {a})"),
        };
    })
}

/// Halves are exact in binary, so that a value reads back as it was written.
fn halves(choices: &mut Choices, most: i64) -> f64 {
    choices.between(-most, most) as f64 / 2.0
}

/// How many numbers a vector has: its length modifier, or three where it is left open.
fn dimensions(typmod: i32) -> usize {
    usize::try_from(typmod).map_or(3, |declared| declared.max(1))
}

fn list(out: &mut String, len: usize, mut item: impl FnMut(usize) -> f64) {
    for at in 0..len {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{}", item(at));
    }
}
