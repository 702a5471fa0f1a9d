//! Integers, numeric, floats, money and bool.
//!
//! Whole and decimal numbers are drawn as `i128` scaled by a power of ten, so bounds are exact.

use std::fmt::Write as _;

use super::{Options, Spans, Texts, constants, weighted};
use crate::seed::check::{Bound, Hints, Limit};
use crate::seed::choices::Choices;

/// The first version whose numeric has infinities.
const INFINITE_NUMERIC: i32 = 140_000;

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints, options: Options) -> Option<Texts> {
    let whole = |lo: i128, hi: i128| scaled(lo, hi, 0, hints);
    Some(match name {
        "int2" => whole(i16::MIN.into(), i16::MAX.into()),
        "int4" => whole(i32::MIN.into(), i32::MAX.into()),
        "int8" => whole(i64::MIN.into(), i64::MAX.into()),
        "oid" | "xid" | "cid" => whole(0, u32::MAX.into()),
        "xid8" => whole(0, i64::MAX.into()),
        "money" => scaled(-9_223_372_036_854_775_807, i64::MAX.into(), 2, hints),
        "numeric" => numeric(typmod, hints, options),
        "float4" => float(f64::from(f32::MAX) / 10.0, true, hints, options),
        "float8" => float(1e300, false, hints, options),
        "bool" => constants(&["t", "f"]).with_limits(["t", "f"].map(str::to_owned)),
        _ => return None,
    })
}

/// Short spans of numbers.
pub(super) fn spans(name: &str) -> Option<Spans> {
    let known = matches!(name, "int4" | "int8" | "numeric" | "float8" | "float4");
    known.then_some(span)
}

fn span(choices: &mut Choices, sparse: bool) -> (String, String) {
    let most = if sparse { 1_000_000_000 } else { 1_000_000 };
    let from = choices.between(-most, most);
    (
        from.to_string(),
        (from + choices.between(1, 20)).to_string(),
    )
}

/// Precision and scale of a numeric's typmod. The scale is eleven bits with a sign.
fn precision(typmod: i32) -> Option<(i32, i32)> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    Some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

fn numeric(typmod: i32, hints: &Hints, options: Options) -> Texts {
    let open = hints.min.is_empty() && hints.max.is_empty();
    let nan = (u32::from(open && options.extremes), constants(&["NaN"]));
    let Some((precision, scale)) = precision(typmod) else {
        return weighted([
            (12, scaled(-10_i128.pow(18), 10_i128.pow(18), 4, hints)),
            (
                u32::from(open),
                constants(&["123456789012345678901234567890.123456789012345678901234567890"]),
            ),
            nan,
            (
                u32::from(open && options.extremes && options.version >= INFINITE_NUMERIC),
                constants(&["Infinity", "-Infinity"]),
            ),
        ]);
    };
    // 18 digits on each side of the point keep every bound within an i128.
    let digits = (precision - scale).clamp(0, 18);
    let kept = scale.clamp(0, 18);
    // Leading zeros after the point that a scale above the precision demands.
    let digits = (digits + kept)
        .min(precision.max(1) - (scale - kept).max(0))
        .max(0);
    let most = 10_i128.pow(digits.unsigned_abs()) - 1;
    weighted([(12, scaled(-most, most, kept.unsigned_abs(), hints)), nan])
}

/// Numbers from `lo` to `hi`, both in units of `10^-scale`, within the hints.
fn scaled(lo: i128, hi: i128, scale: u32, hints: &Hints) -> Texts {
    let (lo, hi) = narrowed(lo, hi, scale, hints);
    let one = 10_i128.pow(scale);
    // Near zero if the range has it, else near the end that is nearest to it.
    let near = 0.clamp(lo, hi);
    let (small_lo, small_hi) = ((near - 100 * one).max(lo), (near + 10_000 * one).min(hi));
    let edges: Vec<i128> = [0, one, -one, lo, hi]
        .into_iter()
        .filter(|edge| (lo..=hi).contains(edge))
        .collect();
    let excluded: Vec<i128> = hints
        .none_of
        .iter()
        .filter_map(|text| parse(text, scale))
        .map(|(value, _)| value)
        .collect();
    let mut limits: Vec<String> = Vec::new();
    for limit in [hi, lo, near, one, -one] {
        let within = (lo..=hi).contains(&limit) && !excluded.contains(&limit);
        let mut text = String::new();
        print(limit, scale, &mut text);
        if within && !limits.contains(&text) {
            limits.push(text);
        }
    }
    Texts::new(move |choices, out| {
        let mut value = match choices.below(11) {
            0..6 => choices.between_wide(near.max(small_lo), small_hi),
            6..8 => choices.between_wide(small_lo, small_hi),
            8..10 => choices.between_wide(lo, hi),
            _ => *choices.pick(&edges),
        };
        // Stepping over the few excluded values needs no other draw.
        while excluded.contains(&value) && value < hi {
            value += 1;
        }
        print(value, scale, out);
    })
    .with_limits(limits)
}

/// The range with the hints' bounds applied; as it was where they leave nothing.
fn narrowed(lo: i128, hi: i128, scale: u32, hints: &Hints) -> (i128, i128) {
    let (mut low, mut high) = (lo, hi);
    for bound in &hints.min {
        if let Some((floor, exact)) = limit(bound, scale) {
            low = low.max(if exact && bound.inclusive {
                floor
            } else {
                floor + 1
            });
        }
    }
    for bound in &hints.max {
        if let Some((floor, exact)) = limit(bound, scale) {
            high = high.min(if exact && !bound.inclusive {
                floor - 1
            } else {
                floor
            });
        }
    }
    if low <= high { (low, high) } else { (lo, hi) }
}

fn limit(bound: &Bound, scale: u32) -> Option<(i128, bool)> {
    match &bound.limit {
        Limit::Text(text) => parse(text, scale),
        Limit::Now => None,
    }
}

/// A decimal in units of `10^-scale`, rounded down, and whether that was exact.
fn parse(text: &str, scale: u32) -> Option<(i128, bool)> {
    let (negative, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.trim()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = scale as usize;
    let (kept, cut) = fraction.split_at_checked(scale.min(fraction.len()))?;
    let magnitude: i128 = format!("{whole}{kept:0<scale$}").parse().ok()?;
    let exact = cut.bytes().all(|digit| digit == b'0');
    Some(match (negative, exact) {
        (false, _) => (magnitude, exact),
        (true, true) => (-magnitude, true),
        (true, false) => (-magnitude - 1, false),
    })
}

fn print(value: i128, scale: u32, out: &mut String) {
    // Writing to a string does not fail.
    if scale == 0 {
        let _ = match i64::try_from(value) {
            Ok(value) => write!(out, "{value}"),
            Err(_) => write!(out, "{value}"),
        };
        return;
    }
    let sign = if value < 0 { "-" } else { "" };
    let (magnitude, width) = (value.unsigned_abs(), scale as usize);
    let _ = match u64::try_from(magnitude) {
        Ok(magnitude) => {
            let one = 10_u64.pow(scale);
            write!(out, "{sign}{}.{:0width$}", magnitude / one, magnitude % one)
        }
        Err(_) => {
            let one = 10_u128.pow(scale);
            write!(out, "{sign}{}.{:0width$}", magnitude / one, magnitude % one)
        }
    };
}

fn float(greatest: f64, single: bool, hints: &Hints, options: Options) -> Texts {
    let (mut low, mut high) = (-greatest, greatest);
    let read = |bound: &Bound| match &bound.limit {
        Limit::Text(text) => text.parse::<f64>().ok(),
        Limit::Now => None,
    };
    let mut exclusive = Vec::new();
    for bound in &hints.min {
        low = read(bound).map_or(low, |value| value.max(low));
    }
    for bound in &hints.max {
        high = read(bound).map_or(high, |value| value.min(high));
    }
    for bound in hints
        .min
        .iter()
        .chain(&hints.max)
        .filter(|bound| !bound.inclusive)
    {
        exclusive.extend(read(bound));
    }
    exclusive.extend(
        hints
            .none_of
            .iter()
            .filter_map(|text| text.parse::<f64>().ok()),
    );
    if low > high {
        (low, high) = (-greatest, greatest);
    }
    let near = 0_f64.clamp(low, high);
    let open = hints.min.is_empty() && hints.max.is_empty();
    let middle = (near.max(low) / 2.0 + (near + 2.0).min(high) / 2.0).clamp(low, high);
    let limits = [high, low, near];
    let limits = limits
        .into_iter()
        .filter(|limit| !exclusive.contains(limit))
        .map(|limit| limit.to_string());
    let limits: Vec<String> = limits.collect();
    let drawn = Texts::new(move |choices, out| {
        let value = match choices.below(8) {
            0..6 => fraction(choices, (near - 1e4).max(low), (near + 1e4).min(high)),
            6 => fraction(choices, low, high),
            _ => near,
        };
        let value = if single {
            f64::from(value as f32)
        } else {
            value
        };
        let value = if exclusive.contains(&value) {
            middle
        } else {
            value
        };
        let _ = write!(out, "{value}");
    });
    weighted([
        (12, drawn.with_limits(limits)),
        (u32::from(open), constants(&["-0", "1e-30", "0.1"])),
        (
            u32::from(open && options.extremes),
            constants(&["NaN", "Infinity", "-Infinity"]),
        ),
    ])
}

/// From `low` to `high`, with 53 random bits: as many as a float has.
fn fraction(choices: &mut Choices, low: f64, high: f64) -> f64 {
    let part = choices.below(1 << 53) as f64 / (1_u64 << 53) as f64;
    (low * (1.0 - part) + high * part).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_rounded_down() {
        let cases = [
            ("5", 0, Some((5, true))),
            ("0.5", 0, Some((0, false))),
            ("-0.5", 0, Some((-1, false))),
            ("-0.50", 2, Some((-50, true))),
            ("12.345", 2, Some((1234, false))),
            ("1.0", 0, Some((1, true))),
            ("now", 0, None),
        ];
        for (text, scale, expected) in cases {
            assert_eq!(parse(text, scale), expected, "{text} at {scale}");
        }
    }

    #[test]
    fn typmods_of_numeric() {
        // numeric(10,2), numeric(5,-2), numeric(3,5)
        assert_eq!(precision((10 << 16 | 2) + 4), Some((10, 2)));
        assert_eq!(precision((5 << 16 | (-2 & 0x7ff)) + 4), Some((5, -2)));
        assert_eq!(precision((3 << 16 | 5) + 4), Some((3, 5)));
        assert_eq!(precision(-1), None);
    }

    #[test]
    fn bounds_narrow_by_their_inclusiveness() {
        let bound = |text: &str, inclusive| Bound {
            limit: Limit::Text(text.into()),
            inclusive,
        };
        let hints = |min, max| Hints {
            min: vec![min],
            max: vec![max],
            ..Hints::default()
        };
        let cases = [
            (bound("0", false), bound("9", false), (1, 8)),
            (bound("0", true), bound("9", true), (0, 9)),
            (bound("0.5", true), bound("8.5", true), (1, 8)),
        ];
        for (min, max, expected) in cases {
            assert_eq!(narrowed(-100, 100, 0, &hints(min, max)), expected);
        }
    }
}
