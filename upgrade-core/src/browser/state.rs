//! What a person perceives of a page, as the browser tells it to a screen reader: texts and controls, in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::log::folded;

/// The roles of what a person can operate.
const CONTROLS: [&str; 17] = [
    "button",
    "checkbox",
    "combobox",
    "link",
    "listbox",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "radio",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
    "treeitem",
];

/// What about a control can change.
const PROPERTIES: [&str; 5] = ["checked", "disabled", "expanded", "pressed", "selected"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Path, query and fragment.
    pub(super) url: String,
    /// Texts and controls with what they contain, in order.
    pub(super) lines: Vec<String>,
    /// Each control, as role and name, with how many there are.
    pub(super) controls: BTreeMap<String, usize>,
}

impl State {
    /// Reads the answer of `Accessibility.getFullAXTree`.
    pub(super) fn read(tree: &Value, url: String, change: &dyn Fn(&str) -> String) -> Self {
        let mut state = Self {
            url,
            ..Self::default()
        };
        let nodes = tree["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let by_id: BTreeMap<&str, &Value> = nodes
            .iter()
            .filter_map(|node| Some((node["nodeId"].as_str()?, node)))
            .collect();
        let roots = nodes.iter().filter(|node| node["parentId"].is_null());
        // Not a recursion: the depth is up to the page.
        let mut stack: Vec<&Value> = roots.collect();
        stack.reverse();
        while let Some(node) = stack.pop() {
            state.add(node, change);
            let children = node["childIds"].as_array().map_or(&[][..], Vec::as_slice);
            let children = children.iter().rev().filter_map(Value::as_str);
            stack.extend(children.filter_map(|id| by_id.get(id)));
        }
        state
    }

    fn add(&mut self, node: &Value, change: &dyn Fn(&str) -> String) {
        if node["ignored"].as_bool() == Some(true) {
            return;
        }
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let name = node["name"]["value"].as_str().unwrap_or_default();
        let name = change(
            name.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .as_str(),
        );
        if role == "StaticText" && !name.is_empty() {
            self.lines.push(name);
        } else if CONTROLS.contains(&role) {
            let control = format!("{role} `{name}`");
            let mut line = control.clone();
            if let Some(value) = node["value"]["value"]
                .as_str()
                .filter(|value| !value.is_empty())
            {
                line = format!("{line} = {}", change(value));
            }
            for property in node["properties"].as_array().into_iter().flatten() {
                let (name, value) = (property["name"].as_str(), &property["value"]["value"]);
                if let Some(name) = name.filter(|name| PROPERTIES.contains(name)) {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    line = format!("{line} {name}={value}");
                }
            }
            self.lines.push(line);
            *self.controls.entry(control).or_default() += 1;
        } else if role == "image" && !name.is_empty() {
            self.lines.push(format!("image `{name}`"));
        }
    }

    /// The same with all numbers folded: a page that shows the time is at rest although it changes.
    pub(super) fn shape(&self) -> Vec<String> {
        self.lines
            .iter()
            .chain([&self.url])
            .map(|line| folded(line))
            .collect()
    }

    /// The begin of what can be read.
    pub(super) fn excerpt(&self) -> String {
        const LINES: usize = 20;
        let mut excerpt: Vec<String> = self
            .lines
            .iter()
            .take(LINES)
            .map(|line| short(line))
            .collect();
        if self.lines.len() > LINES {
            excerpt.push("...".to_owned());
        }
        excerpt.join("\n")
    }

    /// The controls that another state has more often than this one.
    pub(super) fn lacks<'a>(&self, other: &'a Self) -> BTreeSet<&'a str> {
        let lost = other
            .controls
            .iter()
            .filter(|(control, count)| self.controls.get(*control).copied().unwrap_or(0) < **count);
        lost.map(|(control, _)| control.as_str()).collect()
    }
}

/// What differs between two systems of one release.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Noise {
    /// Lines of the baseline by their number.
    lines: BTreeSet<usize>,
    /// Before which lines of the baseline the secondary has others.
    gaps: BTreeSet<usize>,
    /// How such lines read, with their numbers folded.
    shapes: BTreeSet<String>,
    /// Whether the addresses differ, beyond their numbers.
    url: bool,
}

impl Noise {
    pub(super) fn learn(baseline: &State, secondary: &State) -> Self {
        let mut noise = Self {
            url: folded(&baseline.url) != folded(&secondary.url),
            ..Self::default()
        };
        for op in differences(&baseline.lines, &secondary.lines) {
            let (old, new) = (op.old_range(), op.new_range());
            let lines = baseline.lines[old.clone()]
                .iter()
                .chain(&secondary.lines[new.clone()]);
            noise.shapes.extend(lines.map(|line| folded(line)));
            noise.gaps.insert(old.start);
            noise.gaps.insert(old.end);
            noise.lines.extend(old);
        }
        noise
    }

    /// Whether a text reads like one that differs between two systems of one release.
    pub(super) fn is_shape(&self, text: &str) -> bool {
        self.shapes.contains(&folded(text))
    }

    /// The lines of a difference that are no noise.
    fn rest<'a>(
        &self,
        op: &DiffOp,
        baseline: &'a State,
        candidate: &'a State,
    ) -> (Vec<&'a String>, Vec<&'a String>) {
        let (old, new) = (op.old_range(), op.new_range());
        let old_is_noise =
            |at: usize| self.lines.contains(&at) || self.is_shape(&baseline.lines[at]);
        let olds = old
            .clone()
            .filter(|at| !old_is_noise(*at))
            .map(|at| &baseline.lines[at]);
        // Another text in a gap that the two old systems fill differently is noise, too.
        let in_gap = old.is_empty() && new.len() == 1 && self.gaps.contains(&old.start);
        // A noisy line may become any line at its place, unless one that reads like it stands elsewhere.
        let noisy = old.clone().filter(|at| old_is_noise(*at)).count();
        let alike = candidate.lines[new.clone()]
            .iter()
            .filter(|line| self.is_shape(line))
            .count();
        let mut replaced = noisy.saturating_sub(alike);
        let news = new.clone().filter(|at| {
            let place = old.start + at - new.start;
            if in_gap || self.is_shape(&candidate.lines[*at]) {
                return false;
            }
            let stands_in = replaced > 0 && place < old.end && old_is_noise(place);
            replaced -= usize::from(stands_in);
            !stands_in
        });
        let news = news.map(|at| &candidate.lines[at]);
        (olds.collect(), news.collect())
    }

    /// What changed between two moments of one page, beyond noise.
    pub(super) fn changed(&self, before: &State, after: &State) -> bool {
        let is_noise = |line: &String| self.is_shape(line);
        let url = !self.url && before.url != after.url;
        url || differences(&before.lines, &after.lines).iter().any(|op| {
            let old = &before.lines[op.old_range()];
            let new = &after.lines[op.new_range()];
            !old.iter().chain(new).all(is_noise)
        })
    }
}

/// A line as findings show it.
fn short(line: &str) -> String {
    const MOST: usize = 200;
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

/// The lines in which a candidate differs from the baseline beyond noise, as in a unified diff; empty where
/// they are equal.
pub(super) fn text_differences(baseline: &State, candidate: &State, noise: &Noise) -> Vec<String> {
    let mut lines = Vec::new();
    if !noise.url && folded(&baseline.url) != folded(&candidate.url) {
        lines.push(format!("-address {}", baseline.url));
        lines.push(format!("+address {}", candidate.url));
    }
    for op in differences(&baseline.lines, &candidate.lines) {
        let (old, new) = noise.rest(&op, baseline, candidate);
        lines.extend(old.into_iter().map(|line| format!("-{}", short(line))));
        lines.extend(new.into_iter().map(|line| format!("+{}", short(line))));
    }
    lines
}

fn differences(old: &[String], new: &[String]) -> Vec<DiffOp> {
    let ops = capture_diff_slices(Algorithm::Myers, old, new);
    ops.into_iter()
        .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn state(lines: &[&str]) -> State {
        State {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            ..State::default()
        }
    }

    #[test]
    fn a_tree_is_read_in_its_order_and_not_in_that_of_its_list() {
        let node = |id: &str, parent: &str, role: &str, name: &str, children: &[&str]| {
            let parent = if parent.is_empty() {
                Value::Null
            } else {
                json!(parent)
            };
            json!({"nodeId": id, "parentId": parent, "ignored": false, "role": {"value": role},
                   "name": {"value": name}, "childIds": children,
                   "properties": [{"name": "checked", "value": {"value": "true"}}]})
        };
        let tree = json!({"nodes": [
            node("1", "", "RootWebArea", "", &["2", "3"]),
            node("3", "1", "checkbox", "Gift", &[]),
            node("2", "1", "paragraph", "", &["4"]),
            node("4", "2", "StaticText", " to  http://h:1 ", &[]),
        ]});
        let state = State::read(&tree, "/x".to_owned(), &|text| {
            text.replace("http://h:1", "")
        });
        assert_eq!(state.lines, ["to ", "checkbox `Gift` checked=true"]);
        assert_eq!(
            state.controls.keys().collect::<Vec<_>>(),
            ["checkbox `Gift`"]
        );
    }

    #[test]
    fn what_differs_between_two_olds_is_noise_and_the_rest_is_not() {
        let baseline = state(&["Orders", "12:00:01", "3 orders", "quote A", "end"]);
        let secondary = state(&["Orders", "12:00:07", "3 orders", "quote B", "end"]);
        let noise = Noise::learn(&baseline, &secondary);
        let judged = |lines: &[&str]| text_differences(&baseline, &state(lines), &noise);
        let equal: [String; 0] = [];
        assert_eq!(
            judged(&["Orders", "12:01:44", "3 orders", "quote C", "end"]),
            equal
        );
        assert_eq!(
            judged(&["Orders", "12:01:44", "4 orders", "quote C", "end"]),
            ["-3 orders", "+4 orders"]
        );
        assert_eq!(
            judged(&["Orders", "12:01:44", "3 orders", "quote C"]),
            ["-end"]
        );
        assert_eq!(
            judged(&["Orders", "12:01:44", "3 orders", "quote C", "end", "more"]),
            ["+more"]
        );
    }

    #[test]
    fn a_counter_is_a_change_and_a_clock_is_none() {
        let noise = Noise::learn(
            &state(&["12:00:01", "count 1"]),
            &state(&["12:00:02", "count 1"]),
        );
        assert!(!noise.changed(
            &state(&["12:00:01", "count 1"]),
            &state(&["12:00:09", "count 1"])
        ));
        assert!(noise.changed(
            &state(&["12:00:01", "count 1"]),
            &state(&["12:00:09", "count 2"])
        ));
    }

    #[test]
    fn a_control_is_lost_where_there_are_fewer_of_it() {
        let with = |count| State {
            controls: BTreeMap::from([("button `Save`".to_owned(), count)]),
            ..State::default()
        };
        assert_eq!(with(1).lacks(&with(2)), BTreeSet::from(["button `Save`"]));
        assert!(with(2).lacks(&with(1)).is_empty() && with(1).lacks(&with(1)).is_empty());
    }

    fn lines() -> impl Strategy<Value = State> {
        proptest::collection::vec("[ab][0-9]{0,2}", 0..12).prop_map(|lines| State {
            lines,
            ..State::default()
        })
    }

    proptest! {
        #[test]
        fn the_secondary_never_differs_from_the_baseline(old in lines(), again in lines()) {
            let noise = Noise::learn(&old, &again);
            prop_assert!(text_differences(&old, &again, &noise).is_empty());
            prop_assert!(text_differences(&old, &old, &noise).is_empty());
        }

        #[test]
        fn without_noise_every_difference_counts(old in lines(), new in lines()) {
            let noise = Noise::learn(&old, &old);
            let differs = !text_differences(&old, &new, &noise).is_empty();
            prop_assert_eq!(differs, old.lines != new.lines);
        }
    }
}
