//! The syntax of `.env` and `env_file`.
//!
//! One `NAME=value` for each variable. `#` starts a comment at the start of a line and after a
//! space; `export` before a name is passed over. A value in single quotes is taken as it is; one in
//! double quotes knows `\n`, `\r`, `\t`, `\"`, `\\` and `\$`; both may go over several lines. Values
//! without quotes and in double quotes may use variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;

use super::tree::{At, Source};
use super::variables::{interpolate, name_length};

/// Stands for a `$` that was escaped: no text file holds it.
const DOLLAR: char = '\u{0}';

/// The variables of a file. Those that a value uses are asked from `outer`, then from the lines
/// above. A name without `=` takes its value from `outer`, and is left out where there is none.
pub(super) fn parse(
    text: &str,
    source: &Arc<Source>,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(variables);
        }
        if rest.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let at = At {
            source: Arc::clone(source),
            line: 1 + text[..text.len() - rest.len()].matches('\n').count(),
        };
        rest = match rest.strip_prefix("export") {
            Some(after) if after.starts_with([' ', '\t']) => after.trim_start_matches([' ', '\t']),
            _ => rest,
        };
        let length = rest
            .find(|char: char| !(char.is_ascii_alphanumeric() || "_.-".contains(char)))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        let after = after.trim_start_matches([' ', '\t']);
        if name_length(name) == 0 {
            return Err(at.error("this line is not `NAME=value`"));
        }
        let Some(after) = after.strip_prefix(['=', ':']) else {
            if !after.is_empty() && !after.starts_with(['\n', '\r', '#']) {
                return Err(at.error(format!("after the name `{name}` there is no `=`")));
            }
            if let Some(value) = outer(name) {
                variables.insert(name.to_owned(), value);
            }
            rest = after_line(after);
            continue;
        };
        let after = after.trim_start_matches([' ', '\t']);
        let (value, literal, after) =
            value(after).map_err(|what| at.error(format!("the value of `{name}` {what}")))?;
        let value = if literal {
            value
        } else {
            interpolate(&value, &|used| {
                outer(used).or_else(|| variables.get(used).cloned())
            })
            .map_err(|fault| {
                fault
                    .of(&format!("the value of `{name}`"), &at)
                    .with_hint("set it, or put the value in single quotes if it is no variable")
            })?
            .replace(DOLLAR, "$")
        };
        variables.insert(name.to_owned(), value);
        rest = after;
    }
}

/// `format: raw`: a name, `=`, and the rest of the line as it is.
pub(super) fn parse_raw(text: &str, source: &Arc<Source>) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let at = At {
            source: Arc::clone(source),
            line: index + 1,
        };
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| at.error("this line is not `NAME=value`"))?;
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// The value at the start of a text, whether it is to be left as it is, and what follows.
fn value(text: &str) -> Result<(String, bool, &str), &'static str> {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let line = &text[..text.find('\n').unwrap_or(text.len())];
            let comment = if line.starts_with('#') {
                Some(0)
            } else {
                line.find(" #").or_else(|| line.find("\t#"))
            };
            let value = line[..comment.unwrap_or(line.len())].trim_end();
            return Ok((value.to_owned(), false, &text[line.len()..]));
        }
    };
    let mut value = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, char)) = chars.next() {
        if char == quote {
            let after = &text[at + 2..];
            let tail = after[..after.find('\n').unwrap_or(after.len())].trim();
            if !tail.is_empty() && !tail.starts_with('#') {
                return Err("goes on after its closing quote");
            }
            return Ok((value, quote == '\'', after_line(after)));
        }
        if char != '\\' {
            value.push(char);
            continue;
        }
        match chars.next() {
            Some((_, escaped)) if escaped == quote => value.push(quote),
            Some((_, 'n')) if quote == '"' => value.push('\n'),
            Some((_, 'r')) if quote == '"' => value.push('\r'),
            Some((_, 't')) if quote == '"' => value.push('\t'),
            Some((_, '\\')) if quote == '"' => value.push('\\'),
            Some((_, '$')) if quote == '"' => value.push(DOLLAR),
            Some((_, other)) => value.extend(['\\', other]),
            None => break,
        }
    }
    Err("has a quote that does not close")
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>> {
        let source = Arc::new(Source {
            name: ".env".into(),
            folder: "/".into(),
        });
        let outer = |name: &str| (name == "OUT").then(|| "outer".to_owned());
        parse(text, &source, &outer).map(|found| found.into_iter().collect())
    }

    #[test]
    fn values_are_read() {
        for (text, expected) in [
            ("A=1", "1"),
            ("\n  # comment\n\nA = 1 \r\n", "1"),
            ("export A=1", "1"),
            ("export\tA: 1", "1"),
            ("A=a#b # comment", "a#b"),
            ("A=#", ""),
            ("A=", ""),
            ("A=b c", "b c"),
            ("A='$OUT # \\n' # comment", "$OUT # \\n"),
            ("A='it\\'s'", "it's"),
            ("A=\"$OUT\\t\\\"x\\\"\\\\ \\$OUT\"", "outer\t\"x\"\\ $OUT"),
            ("A=\"two\nlines\"\n", "two\nlines"),
            ("A='two\nlines'\n", "two\nlines"),
            ("A=${OUT}-${NO:-d}", "outer-d"),
            ("A=it's", "it's"),
            ("OUT=ignored\nA=$OUT", "outer"),
            ("Z=z\nA=$Z", "z"),
            ("A=1\nA=2", "2"),
            ("\u{feff}A=1", "1"),
        ] {
            let found = read(text).unwrap();
            let a = found.iter().find(|(name, _)| name == "A").unwrap();
            assert_eq!(a.1, expected, "{text:?}");
        }
        assert_eq!(read("OUT").unwrap(), [("OUT".into(), "outer".into())]);
        assert_eq!(read("OUT # c\n").unwrap().len(), 1);
        assert_eq!(read("NO\nA=1").unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_without_values() {
        for (text, expected) in [
            ("A=1\n=2", "`.env:2`: this line is not `NAME=value`"),
            ("A secret", "`.env:1`: after the name `A` there is no `=`"),
            (
                "A='x\n\n",
                "`.env:1`: the value of `A` has a quote that does not close",
            ),
            (
                "A=\"x\" secret",
                "`.env:1`: the value of `A` goes on after its closing quote",
            ),
            (
                "A=secret$word",
                "`.env:1`: the value of `A` needs the variable `word`, which is not set (set it, or \
                 put the value in single quotes if it is no variable)",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn raw_files_are_taken_as_they_are() {
        let source = Arc::new(Source {
            name: "raw.env".into(),
            folder: "/".into(),
        });
        let found = parse_raw("# c\nA='$x' # y\n\n", &source).unwrap();
        assert_eq!(found["A"], "'$x' # y");
        assert!(parse_raw("A", &source).is_err());
    }
}
