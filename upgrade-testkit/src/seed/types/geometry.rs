//! Points, lines and areas.

use proptest::collection::vec;
use proptest::strategy::Strategy;

use super::Texts;

pub(super) fn texts(name: &str) -> Option<Texts> {
    // Halves are exact in binary, so that a value reads back as it was written.
    let half = || (-2000_i32..=2000).prop_map(|n| f64::from(n) / 2.0);
    let point = move || (half(), half()).prop_map(|(x, y)| format!("({x},{y})"));
    let points = move |least: usize| vec(point(), least..6).prop_map(|points| points.join(","));
    Some(match name {
        "point" => point().sboxed(),
        "box" | "lseg" => points_of(name, point().sboxed()),
        "line" => (1_i32..50, -50_i32..50, half())
            .prop_map(|(a, b, c)| format!("{{{a},{b},{c}}}"))
            .sboxed(),
        "circle" => (point(), 0_i32..100)
            .prop_map(|(centre, r)| format!("<{centre},{r}>"))
            .sboxed(),
        "polygon" => points(3).prop_map(|points| format!("({points})")).sboxed(),
        "path" => (points(2), proptest::bool::ANY)
            .prop_map(|(points, open)| {
                if open {
                    format!("[{points}]")
                } else {
                    format!("({points})")
                }
            })
            .sboxed(),
        "cube" => (half(), half())
            .prop_map(|(a, b)| format!("({a}, {b})"))
            .sboxed(),
        _ => return None,
    })
}

fn points_of(name: &str, point: Texts) -> Texts {
    let segment = name == "lseg";
    (point.clone(), point)
        .prop_map(move |(a, b)| {
            if segment {
                format!("[{a},{b}]")
            } else {
                format!("{a},{b}")
            }
        })
        .sboxed()
}
