//! Dates, times, timestamps and intervals, drawn as days or microseconds and printed as ISO.

use super::{Options, Spans, Texts, constants, weighted};
use crate::seed::check::{Bound, Hints, Limit};
use crate::seed::choices::Choices;

const DAY: i64 = 86_400_000_000;

pub(super) fn texts(name: &str, hints: &Hints, options: Options) -> Option<Texts> {
    Some(match name {
        "date" => instants(1, hints, options, date),
        "timestamp" => instants(DAY, hints, options, timestamp),
        "timestamptz" => instants(DAY, hints, options, |us, out| {
            timestamp(us, out);
            out.push_str("+00");
        }),
        "time" => time_of_day(options),
        "timetz" => {
            let time = time_of_day(options);
            Texts::new(move |choices, out| {
                time.append(choices, out);
                out.push_str(&format!("{:+03}:00", choices.between(-12, 14)));
            })
        }
        "interval" => interval(hints, options),
        _ => return None,
    })
}

/// Short spans of time: days, or minutes to half a day.
pub(super) fn spans(name: &str) -> Option<Spans> {
    let spans: Spans = match name {
        "date" => |choices, sparse| {
            let (from, to) = span(choices, sparse, 1, 14);
            (text(from, date), text(to, date))
        },
        "timestamp" => |choices, sparse| {
            let (from, to) = span(choices, sparse, 1440, 720);
            (text(from * MINUTE, timestamp), text(to * MINUTE, timestamp))
        },
        "timestamptz" => |choices, sparse| {
            let (from, to) = span(choices, sparse, 1440, 720);
            let zoned = |minute: i64| text(minute * MINUTE, timestamp) + "+00";
            (zoned(from), zoned(to))
        },
        _ => return None,
    };
    Some(spans)
}

const MINUTE: i64 = 60_000_000;

/// A short span, in units of which a day has `per_day`: a shorter one in a longer time if it is to
/// leave room for others.
fn span(choices: &mut Choices, sparse: bool, per_day: i64, longest: i64) -> (i64, i64) {
    let (first, last, longest) = if sparse {
        (days(1900, 1, 1), days(2200, 12, 31), (longest / 12).max(2))
    } else {
        (days(1990, 1, 1), days(2037, 12, 31), longest)
    };
    let from = choices.between(first * per_day, last * per_day);
    (from, from + choices.between(1, longest))
}

fn text(count: i64, print: fn(i64, &mut String)) -> String {
    let mut out = String::new();
    print(count, &mut out);
    out
}

/// Days since 1970-01-01 as year, month and day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that a leap day ends its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Appends a number with leading zeros.
fn pad(number: i64, width: u32, out: &mut String) {
    for place in (0..width).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(char::from(b'0' + digit as u8));
    }
}

fn date(count: i64, out: &mut String) {
    let (year, month, day) = civil(count);
    pad(year, 4, out);
    out.push('-');
    pad(month, 2, out);
    out.push('-');
    pad(day, 2, out);
}

fn clock(us: i64, out: &mut String) {
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    pad(seconds / 3600, 2, out);
    out.push(':');
    pad(seconds / 60 % 60, 2, out);
    out.push(':');
    pad(seconds % 60, 2, out);
    out.push('.');
    pad(fraction, 6, out);
}

fn timestamp(us: i64, out: &mut String) {
    date(us.div_euclid(DAY), out);
    out.push(' ');
    clock(us.rem_euclid(DAY), out);
}

/// An ISO date or timestamp in units of which a day has `per_day`, rounded down.
fn parse(text: &str, per_day: i64) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let whole = days(parts.next()??, parts.next()??, parts.next()??);
    if per_day == 1 {
        return Some(whole);
    }
    let rest = rest.trim();
    // Beyond whole seconds and an offset, rounding to the day is close enough: refusals are redrawn.
    let mut seconds = 0;
    if let Some(clock) = rest.get(..8) {
        let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
        seconds = parts.next()?? * 3600 + parts.next()?? * 60 + parts.next()??;
        let zone = rest.rfind(['+', '-']).map_or("", |at| &rest[at..]);
        let mut zone = zone.split(':').map(|part| part.parse::<i64>().ok());
        if let Some(Some(hours)) = zone.next() {
            let minutes = zone.next().flatten().unwrap_or(0) * hours.signum();
            seconds -= hours * 3600 + minutes * 60;
        }
    }
    Some(whole * per_day + seconds * (per_day / 86_400))
}

fn instants(per_day: i64, hints: &Hints, options: Options, print: fn(i64, &mut String)) -> Texts {
    // Dates that the present neither is nor will be, so that `<= now()` and `> now()` stay true.
    let (past, future) = (days(2019, 12, 31) * per_day, days(2200, 1, 1) * per_day);
    let read = |bound: &Bound, now: i64| match &bound.limit {
        Limit::Text(text) => parse(text, per_day),
        Limit::Now => Some(now),
    };
    let mins = hints
        .min
        .iter()
        .filter_map(|bound| Some(read(bound, future)? + i64::from(!bound.inclusive)));
    let maxs = hints
        .max
        .iter()
        .filter_map(|bound| Some(read(bound, past)? - i64::from(!bound.inclusive)));
    let (min, max) = (mins.max(), maxs.min());
    let open = min.is_none() && max.is_none();
    let low =
        min.unwrap_or_else(|| max.map_or(days(1990, 1, 1) * per_day, |max| max - 3650 * per_day));
    let high =
        max.unwrap_or_else(|| min.map_or(days(2037, 12, 31) * per_day, |min| min + 3650 * per_day));
    let (low, high) = if low <= high {
        (low, high)
    } else {
        (high, low)
    };
    let edges: Vec<i64> = [
        (1, 1, 1),
        (1900, 2, 28),
        (1969, 12, 31),
        (2000, 2, 29),
        (2024, 2, 29),
        (2038, 1, 20),
        (9999, 12, 31),
    ]
    .into_iter()
    .map(|(y, m, d)| days(y, m, d) * per_day)
    .filter(|edge| open || (low..=high).contains(edge))
    .chain([low, high])
    .collect();
    // The widest first.
    let limits: Vec<String> = [edges.iter().max(), edges.iter().min()]
        .into_iter()
        .flatten()
        .map(|count| text(*count, print))
        .collect();
    let drawn = Texts::new(move |choices, out| {
        let count = if choices.one_in(11) {
            *choices.pick(&edges)
        } else {
            choices.between(low, high)
        };
        print(count, out);
    });
    weighted([
        (12, drawn.with_limits(limits)),
        (
            u32::from(open && options.extremes),
            constants(&["infinity", "-infinity", "4713-11-24 BC"]),
        ),
    ])
}

fn time_of_day(options: Options) -> Texts {
    weighted([
        (
            10,
            Texts::new(|choices, out| clock(choices.between(0, DAY - 1), out)),
        ),
        (1, constants(&["00:00:00", "23:59:59.999999", "12:00:00"])),
        (u32::from(options.extremes), constants(&["24:00:00"])),
    ])
}

fn interval(hints: &Hints, options: Options) -> Texts {
    let bounded = !hints.min.is_empty() || !hints.max.is_empty();
    // A bound on an interval is nearly always about its sign or a few hours.
    let (months, days) = if bounded {
        ((0, 0), (0, 2))
    } else {
        ((-24, 24), (-400, 400))
    };
    let drawn = Texts::new(move |choices, out| {
        let (months, days) = (
            choices.between(months.0, months.1),
            choices.between(days.0, days.1),
        );
        out.push_str(&format!("{months} mons {days} days "));
        clock(choices.between(1, DAY - 1), out);
    });
    weighted([
        (8, drawn),
        (
            2,
            Texts::new(|choices, out| out.push_str(&format!("{} secs", choices.between(1, 7199)))),
        ),
        (
            u32::from(!bounded),
            constants(&["0", "-1 days", "1 mon", "-00:00:00.000001"]),
        ),
        (
            u32::from(!bounded && options.extremes),
            constants(&["178000000 years", "-178000000 years"]),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_goes_both_ways() {
        let cases = [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((1969, 12, 31), -1),
            ((1, 1, 1), -719_162),
        ];
        for ((y, m, d), count) in cases {
            assert_eq!(days(y, m, d), count);
            assert_eq!(civil(count), (y, m, d));
        }
        for count in (-719_162..2_932_896).step_by(97) {
            let (y, m, d) = civil(count);
            assert_eq!(days(y, m, d), count);
        }
        assert_eq!(text(-719_162, date), "0001-01-01");
        assert_eq!(text(-1, timestamp), "1969-12-31 23:59:59.999999");
    }

    #[test]
    fn bounds_are_read_with_their_offset() {
        assert_eq!(parse("1970-01-02", 1), Some(1));
        assert_eq!(parse("1970-01-01 01:00:00", DAY), Some(3_600_000_000));
        assert_eq!(parse("1970-01-01 01:00:00+01", DAY), Some(0));
        assert_eq!(parse("1970-01-01 00:00:00-02:30", DAY), Some(9_000_000_000));
        assert_eq!(parse("infinity", DAY), None);
    }
}
