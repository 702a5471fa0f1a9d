//! Words that stand for numbers: sizes, times, processors; and lines that stand for words.

use std::time::Duration;

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Permissions as a YAML file has them: octal with a `0` before them.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('0')?;
    let digits = digits.strip_prefix('o').unwrap_or(digits);
    let mode = u32::from_str_radix(digits, 8).ok()?;
    (mode <= 0o7777).then_some(mode)
}

/// A size: a number with `b`, `k`, `m`, `g` or `t`, each 1024 of the one before, with `b` or `ib`
/// after it if one likes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    scaled(number, 1 << (10 * power))
}

/// A time: numbers with units, `1m30s`. A bare `0` needs none.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !(char.is_ascii_digit() || char == '.'))?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// Processors in thousandths.
pub(super) fn milli_cpus(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let milli = scaled(number, 1000)?;
    let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    (unit.is_empty() && (milli > 0 || is_zero)).then_some(milli)
}

fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|char: char| !(char.is_ascii_digit() || char == '.'))
        .unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start()))
}

/// A decimal number times a scale, rounded down.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(9)];
    let part = if fraction.is_empty() {
        0
    } else {
        let digits: u128 = fraction.parse().ok()?;
        digits * u128::from(scale) / 10u128.pow(u32::try_from(fraction.len()).ok()?)
    };
    whole
        .checked_mul(scale)?
        .checked_add(u64::try_from(part).ok()?)
}

/// Whether an unquoted scalar is a number or a boolean whose spelling a YAML reader does not keep:
/// `1.10` becomes `1.1`, `0755` becomes `493`.
pub(super) fn rewritten(text: &str) -> bool {
    if boolean(text).is_some() {
        return !matches!(text, "true" | "false");
    }
    let unsigned = text.trim_start_matches(['-', '+']).replace('_', "");
    let unsigned = unsigned.to_ascii_lowercase();
    let is_number = matches!(unsigned.as_str(), ".inf" | ".nan")
        || unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.')
            && unsigned.parse::<f64>().is_ok()
        || ["0x", "0o", "0b"].iter().any(|prefix| {
            unsigned
                .strip_prefix(prefix)
                .is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
        });
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let kept = whole
        .parse::<u64>()
        .is_ok_and(|number| number.to_string() == whole)
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && !fraction.is_empty()
        && !fraction.ends_with('0')
        && fraction.len() < 16;
    is_number && !kept
}

/// A line split into words as a POSIX shell splits it; nothing in it is expanded.
pub(super) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    const OPEN: &str = "a quote that does not close";
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if char == '\\' && chars.as_str().starts_with('\n') {
            chars.next();
            continue;
        }
        if matches!(char, '|' | '&' | ';' | '<' | '>') {
            return Err(
                "a `|`, `&`, `;`, `<` or `>` outside of quotes, but no shell runs it: write \
                 `[\"sh\", \"-c\", \"…\"]`",
            );
        }
        let word = word.get_or_insert_default();
        match char {
            '\'' => loop {
                match chars.next().ok_or(OPEN)? {
                    '\'' => break,
                    char => word.push(char),
                }
            },
            '"' => loop {
                match chars.next().ok_or(OPEN)? {
                    '"' => break,
                    '\\' => match chars.next().ok_or(OPEN)? {
                        char @ ('"' | '\\' | '$' | '`') => word.push(char),
                        '\n' => {}
                        char => word.extend(['\\', char]),
                    },
                    char => word.push(char),
                }
            },
            '\\' => word.push(chars.next().ok_or("a `\\` at its end")?),
            char => word.push(char),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("12b", Some(12)),
            ("2k", Some(2048)),
            ("2KB", Some(2048)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1 gb", Some(1 << 30)),
            ("1t", Some(1 << 40)),
            (".5k", Some(512)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1.2.3m", None),
            (".", None),
            ("99999999999999999999", None),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("500ms", Some(500)),
            ("5000us", Some(5)),
            ("10", None),
            ("", None),
            ("s", None),
            ("10 s", None),
            ("-1s", None),
            ("1y", None),
            ("99999999999h", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn processors() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("2", Some(2000)),
            ("0.25", Some(250)),
            (".5", Some(500)),
            ("0.33333333333333333", Some(333)),
            ("0.0001", None),
            ("1k", None),
            ("x", None),
        ] {
            assert_eq!(milli_cpus(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_that_yaml_writes_anew() {
        for text in [
            "1.10",
            "1.0",
            "0755",
            "0o17",
            "0x1F",
            "1e3",
            "+1",
            "1_000",
            "True",
            "FALSE",
            ".5",
            ".inf",
            "-0755",
            "1.",
            "-.5",
            "123456789012345678901",
        ] {
            assert!(rewritten(text), "{text}");
        }
        for text in [
            "1",
            "0",
            "-1",
            "1.5",
            "0.25",
            "true",
            "false",
            "yes",
            "text",
            "1.2.3",
            "10m",
            "8080:80",
            "v1.10",
            "a1",
            "-",
            ".",
            "1234567890123456789",
            "10.0.0.1",
        ] {
            assert!(!rewritten(text), "{text}");
        }
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        for (line, expected) in [
            ("", &[][..]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("sh -c 'a b; c'", &["sh", "-c", "a b; c"]),
            (r#"a "b \"c\" \n $d" e"#, &["a", r#"b "c" \n $d"#, "e"]),
            (r"a\ b \'c", &["a b", "'c"]),
            ("'' \"\"", &["", ""]),
            ("--x='a b'c", &["--x=a bc"]),
            ("a \\\n b", &["a", "b"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        for line in ["'a", "\"a", "\"a\\", "a\\", "a && b", "a > b", "a;b"] {
            assert!(words(line).is_err(), "{line}");
        }
    }
}
