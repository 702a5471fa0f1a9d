//! Variables, and how they are put into values.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::secret::Secret;

use super::tree::At;

/// How deep defaults may stand in defaults.
const DEPTH: usize = 16;

/// The variables that a file may use, in the order in which they are asked.
#[derive(Default)]
pub(super) struct Variables {
    pub(super) explicit: BTreeMap<String, Secret>,
    /// Whether those of this process count too.
    pub(super) process: bool,
    /// Those of `.env`.
    pub(super) file: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.explicit.get(name) {
            return Some(value.expose().to_owned());
        }
        self.process
            .then(|| std::env::var(name).ok())
            .flatten()
            .or_else(|| self.file.get(name).cloned())
    }
}

/// Why a value cannot be had. It never says what is in a variable.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    Unset(String),
    Required { name: String, message: String },
    Syntax(&'static str),
}

impl Fault {
    /// The error for a value of what is named.
    pub(super) fn of(&self, what: &str, at: &At) -> Error {
        let error = at.error(format!("{what} {self}"));
        match self {
            Self::Unset(name) => error.with_hint(unset_hint(name)),
            _ => error,
        }
    }
}

pub(super) fn unset_hint(name: &str) -> String {
    format!("set it with `with_variable`, or in `.env`, or give it a default: `${{{name}:-}}`")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(f, "needs the variable `{name}`, which is not set"),
            Self::Required { name, message } if message.is_empty() => {
                write!(f, "needs the variable `{name}`")
            }
            Self::Required { name, message } => {
                write!(f, "needs the variable `{name}`: {message}")
            }
            Self::Syntax(what) => write!(f, "has {what}"),
        }
    }
}

/// Puts variables into a text: `$NAME`, `${NAME}`, and `${NAME` followed by an operator (`:-`, `-`,
/// `:?`, `?`, `:+` or `+`), an operand and `}`; `$$` is one `$`. An operand may use variables.
pub(super) fn interpolate(
    text: &str,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Fault> {
    expand(text, get, DEPTH)
}

fn expand(text: &str, get: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or(Fault::Syntax("a `${` without its `}`"))?;
            out.push_str(&braced(&after[..end], get, depth)?);
            rest = &after[end + 1..];
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            if name.is_empty() {
                return Err(Fault::Syntax(
                    "a `$` that no variable follows: one that is meant is written `$$`",
                ));
            }
            out.push_str(&get(name).ok_or_else(|| Fault::Unset(name.to_owned()))?);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(
    inside: &str,
    get: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<String, Fault> {
    let (name, operation) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return Err(Fault::Syntax("a `${` that no name follows"));
    }
    let value = get(name);
    let (empty_counts_as_unset, operation) = match operation.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operation),
    };
    let value_or_unset = value
        .clone()
        .filter(|value| !(empty_counts_as_unset && value.is_empty()));
    let word = |word: &str| match depth {
        0 => Err(Fault::Syntax("defaults inside of defaults, too deep")),
        _ => expand(word, get, depth - 1),
    };
    match operation.chars().next() {
        Some('-') => value_or_unset.map_or_else(|| word(&operation[1..]), Ok),
        Some('+') => value_or_unset.map_or_else(|| Ok(String::new()), |_| word(&operation[1..])),
        Some('?') => value_or_unset.ok_or_else(|| Fault::Required {
            name: name.to_owned(),
            message: operation[1..].to_owned(),
        }),
        None if !empty_counts_as_unset => value.ok_or_else(|| Fault::Unset(name.to_owned())),
        _ => Err(Fault::Syntax(
            "a `${` with something else after the name than `:-`, `-`, `:?`, `?`, `:+` or `+`",
        )),
    }
}

/// Where the brace closes that was opened before this text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '{' if before == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        before = char;
    }
    None
}

/// The length of the name that a text starts with.
pub(super) fn name_length(text: &str) -> usize {
    let mut length = 0;
    for byte in text.bytes() {
        if byte == b'_' || byte.is_ascii_alphabetic() || (length > 0 && byte.is_ascii_digit()) {
            length += 1;
        } else {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, Fault> {
        interpolate(text, &|name| match name {
            "A" => Some("a".to_owned()),
            "B_2" => Some("b".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRAP" => Some("${A} $A".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_put_in() {
        for (text, expected) in [
            ("", ""),
            ("no variable", "no variable"),
            ("$A", "a"),
            ("x${A}y$B_2-z", "xayb-z"),
            ("$$A $$", "$A $"),
            ("${A:-d}${A-d}${A:?m}${A?m}", "aaaa"),
            ("${NO:-d}${NO-d}", "dd"),
            ("${EMPTY:-d}|${EMPTY-d}|${EMPTY}|${EMPTY?m}", "d|||"),
            (
                "${A:+x}|${A+x}|${NO:+x}|${NO+x}|${EMPTY:+x}|${EMPTY+x}",
                "x|x||||x",
            ),
            ("${NO:-${ALSO:-$A}}!", "a!"),
            ("${NO:-a:b-c?d+e}", "a:b-c?d+e"),
            ("${NO:-$$5}", "$5"),
            ("${A:-$NO}", "a"),
            ("${NO:-ö}", "ö"),
            ("$TRAP", "${A} $A"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        for (text, expected) in [
            ("$NO", "needs the variable `NO`, which is not set"),
            ("${NO}", "needs the variable `NO`, which is not set"),
            ("${NO:-$NOR}", "needs the variable `NOR`, which is not set"),
            ("${NO:?say it}", "needs the variable `NO`: say it"),
            ("${NO?}", "needs the variable `NO`"),
            ("${EMPTY:?say it}", "needs the variable `EMPTY`: say it"),
            ("${A", "has a `${` without its `}`"),
            ("${}", "has a `${` that no name follows"),
            ("${1}", "has a `${` that no name follows"),
            (
                "5$",
                "has a `$` that no variable follows: one that is meant is written `$$`",
            ),
            (
                "${A!}",
                "has a `${` with something else after the name than `:-`, `-`, `:?`, `?`, `:+` or `+`",
            ),
            (
                "${A:}",
                "has a `${` with something else after the name than `:-`, `-`, `:?`, `?`, `:+` or `+`",
            ),
        ] {
            assert_eq!(with(text).unwrap_err().to_string(), expected, "{text}");
        }
        let deep = "${NO:-".repeat(10_000) + "}".repeat(10_000).as_str();
        assert!(matches!(with(&deep), Err(Fault::Syntax(_))));
    }
}
