//! One line of the table: ours, the peer's, their ratio, the goal, and whether it was met.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::sample::Sample;

/// What a line should come to. A ratio is judged by the median of the rounds' ratios: what slows a
/// round slows both of its times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Ours takes at most this many times as long as the peer.
    AtMost(f64),
    /// Ours is at least this many times faster than the peer.
    Faster(f64),
    /// Ours takes at most this long; there is no peer.
    Within(Duration),
    /// Ours, on ten times as much as the peer, grows with at most this power of the size: 0 is
    /// not at all, 1 in proportion.
    Growth(f64),
}

impl Goal {
    /// The ratio that the goal speaks of.
    fn ratio(self, ours: Duration, peer: Duration) -> f64 {
        // Whole numbers, so that 12 ms to 10 ms are 1.2 and not a bit more.
        let (ours, peer) = (ours.as_nanos() as f64, peer.as_nanos() as f64);
        match self {
            Self::Faster(_) => peer / ours,
            Self::AtMost(_) | Self::Within(_) => ours / peer,
            Self::Growth(_) => (ours / peer).log10(),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => f.pad(&format!("≤ {limit}×")),
            Self::Faster(limit) => f.pad(&format!("≥ {limit}× faster")),
            Self::Within(limit) => f.pad(&format!("≤ {}", time(*limit))),
            Self::Growth(limit) => f.pad(&format!("≤ size^{limit}")),
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What we do.
    pub what: String,
    /// What the peer does instead; empty without a peer.
    pub against: String,
    /// Our times.
    pub ours: Sample,
    /// The peer's times; empty without a peer.
    pub peer: Sample,
    /// The goal.
    pub goal: Goal,
}

impl Line {
    /// Whether ours was measured; one that is not there yet has only its peer's times.
    pub fn is_measured(&self) -> bool {
        self.ours.rounds() > 0
    }

    /// Whether the goal is met.
    pub fn is_met(&self) -> bool {
        match (self.goal, self.ratios()) {
            (Goal::Within(limit), _) => self.is_measured() && self.ours.median() <= limit,
            (Goal::AtMost(limit) | Goal::Growth(limit), Some((ratio, _))) => ratio <= limit,
            (Goal::Faster(limit), Some((ratio, _))) => ratio >= limit,
            (_, None) => false,
        }
    }

    /// The ratio that the goal speaks of: the median of the rounds' own, and that of the shortest
    /// times; none without a peer.
    pub fn ratios(&self) -> Option<(f64, f64)> {
        let rounds = self.ours.times().iter().zip(self.peer.times());
        let mut ratios: Vec<f64> = rounds
            .map(|(&ours, &peer)| self.goal.ratio(ours, peer))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let median = *ratios.get(ratios.len().saturating_sub(1) / 2)?;
        Some((median, self.goal.ratio(self.ours.min(), self.peer.min())))
    }

    fn cells(&self) -> [String; 7] {
        let times = |sample: &Sample| match sample.rounds() {
            0 => "-".to_owned(),
            _ => format!("{} ({})", time(sample.median()), time(sample.min())),
        };
        let power = match self.goal {
            Goal::Growth(_) => "size^",
            _ => "",
        };
        let ratio = self.ratios().map_or_else(
            || "-".to_owned(),
            |(median, minima)| format!("{power}{median:.2} ({minima:.2})"),
        );
        let met = match (self.is_measured(), self.is_met()) {
            (false, _) => "not there",
            (true, true) => "met",
            (true, false) => "MISSED",
        };
        let against = if self.against.is_empty() {
            "-"
        } else {
            &self.against
        };
        [
            self.what.clone(),
            times(&self.ours),
            against.to_owned(),
            times(&self.peer),
            ratio,
            self.goal.to_string(),
            met.to_owned(),
        ]
    }

    /// The line for machines; what was not measured is `null`.
    pub fn to_json(&self) -> Value {
        let ratios = self.ratios();
        json!({
            "what": self.what,
            "against": self.against,
            "ours": self.is_measured().then_some(&self.ours),
            "peer": (self.peer.rounds() > 0).then_some(&self.peer),
            "median_ratio": ratios.map(|(median, _)| median),
            "ratio_of_minima": ratios.map(|(_, minima)| minima),
            "goal": self.goal.to_string(),
            "met": self.is_measured().then(|| self.is_met()),
        })
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// The lines as a Markdown table, aligned for a terminal.
pub fn table(lines: &[Line]) -> String {
    let head = ["what", "ours", "peer", "its time", "ratio", "goal", ""].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head)
        .chain(lines.iter().map(Line::cells))
        .collect();
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("| {cell:width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// A time with three digits or so.
fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ if ms < 1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ours: u64, peer: Option<u64>, goal: Goal) -> Line {
        let sample = |ms| Sample::from_iter([Duration::from_millis(ms)]);
        Line {
            what: "copy".to_owned(),
            against: "bare copy".to_owned(),
            ours: sample(ours),
            peer: peer.map(sample).unwrap_or_default(),
            goal,
        }
    }

    #[test]
    fn goals_are_judged_by_the_ratio_that_they_speak_of() {
        let check = |line: Line, ratio: Option<f64>, met: bool| {
            let got = (line.ratios().map(|(medians, _)| medians), line.is_met());
            assert_eq!(got, (ratio, met), "{line:?}");
        };
        check(line(12, Some(10), Goal::AtMost(1.2)), Some(1.2), true);
        check(line(13, Some(10), Goal::AtMost(1.2)), Some(1.3), false);
        check(line(10, Some(100), Goal::Faster(10.0)), Some(10.0), true);
        check(line(11, Some(88), Goal::Faster(10.0)), Some(8.0), false);
        let goal = Goal::Within(Duration::from_millis(300));
        check(line(300, None, goal), None, true);
        check(line(301, None, goal), None, false);
        check(line(1000, Some(100), Goal::Growth(1.0)), Some(1.0), true);
        check(line(1000, Some(10), Goal::Growth(1.1)), Some(2.0), false);
    }

    #[test]
    fn what_was_not_measured_meets_nothing_and_has_no_figure() {
        let line = Line {
            ours: Sample::default(),
            ..line(1, Some(10), Goal::AtMost(1.0))
        };
        assert_eq!((line.ratios(), line.is_met()), (None, false));
        let text = table(std::slice::from_ref(&line));
        assert!(text.contains("| -"), "{text}");
        assert!(text.contains("not there"), "{text}");
        assert!(line.to_json()["met"].is_null());
    }

    #[test]
    fn a_slow_round_slows_both_and_does_not_count() {
        let sample = |times: [u64; 3]| times.map(Duration::from_millis).into_iter().collect();
        let line = Line {
            ours: sample([11, 110, 12]),
            peer: sample([10, 100, 200]),
            ..line(1, None, Goal::AtMost(1.2))
        };
        assert_eq!(line.ratios(), Some((1.1, 1.1)));
    }

    #[test]
    fn the_table_is_aligned_and_says_what_was_missed() {
        let lines = [
            line(1300, Some(10), Goal::AtMost(1.2)),
            line(25, None, Goal::Within(Duration::from_millis(300))),
        ];
        let text = table(&lines);
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
        assert!(
            text.contains("| 1.30 s (1.30 s)   | bare copy | 10.0 ms (10.0 ms) |"),
            "{text}"
        );
        assert!(
            text.contains("| 130.00 (130.00) | ≤ 1.2×   | MISSED |"),
            "{text}"
        );
    }
}
