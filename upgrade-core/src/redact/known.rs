//! The forms of a known value, and where they stand in a text.

use super::GONE;

/// Words that are passwords of test systems, and names of everything else.
const COMMON: [&str; 26] = [
    "admin",
    "changeme",
    "debug",
    "default",
    "development",
    "disable",
    "disabled",
    "enabled",
    "error",
    "example",
    "false",
    "info",
    "local",
    "localhost",
    "none",
    "null",
    "password",
    "postgres",
    "production",
    "root",
    "secret",
    "staging",
    "test",
    "testing",
    "true",
    "user",
];
/// What is shorter stands in other words.
const SHORTEST: usize = 4;
/// From this length on a value is found in the middle of other words, too.
const LONG: usize = 8;

/// What in the name of a variable says that its value is a secret.
#[cfg(any(feature = "postgres", feature = "http"))]
const NAMES: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASSCODE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE",
    "APIKEY",
    "_KEY",
    "_PWD",
    "_SALT",
];

/// Whether the name of a variable says that its value is a secret; that of a file's path does not.
#[cfg(any(feature = "postgres", feature = "http"))]
pub(crate) fn is_name_of_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !name.ends_with("_FILE") && (name == "KEY" || NAMES.iter().any(|part| name.contains(part)))
}

/// The password of a URL, decoded, unless it is the name of the user or of the database as well.
pub(crate) fn password_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (user, password) = user.split_once(':')?;
    let password = decoded(password);
    let path = rest.split(['?', '#']).next()?.rsplit('/').next()?;
    (password != decoded(user) && password != decoded(path)).then_some(password)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The forms in which a value may be printed, that of its lines among them.
pub(super) fn forms(value: &str) -> Vec<String> {
    let value = value.trim_end_matches(['\n', '\r']);
    let mut forms = Vec::new();
    let lines = value.lines().filter(|line| line.trim().len() >= LONG);
    let parts = std::iter::once(value).chain(lines.filter(|_| value.contains('\n')).map(str::trim));
    for part in parts.filter(|part| counts(part)) {
        let all = [
            part.to_owned(),
            part.replace('\'', "''"),
            percent(part, |byte| byte.is_ascii_alphanumeric(), true),
            percent(part, |byte| byte.is_ascii_alphanumeric(), false),
            percent(
                part,
                |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
                true,
            ),
            // As in the place of a user in a URL.
            percent(part, is_plain_in_url, true),
            part.escape_debug().to_string(),
            format!("{part:?}").trim_matches('"').to_owned(),
            serde_json::Value::from(part)
                .to_string()
                .trim_matches('"')
                .to_owned(),
        ];
        for form in all {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

fn counts(value: &str) -> bool {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    value.len() >= SHORTEST
        && !(is_number && value.len() < LONG)
        && !COMMON.contains(&value.to_ascii_lowercase().as_str())
}

fn is_plain_in_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>?`{}/:;=@[\\]^|%".contains(&byte)
}

fn percent(text: &str, plain: impl Fn(u8) -> bool, upper: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match (plain(byte), upper) {
            (true, _) => out.push(char::from(byte)),
            (false, true) => out.push_str(&format!("%{byte:02X}")),
            (false, false) => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

/// The text without a value; nothing where it does not stand there.
pub(super) fn without(text: &str, value: &str) -> Option<String> {
    let mut out = String::new();
    let mut from = 0;
    let mut searched = 0;
    while let Some(at) = text[searched..].find(value).map(|at| at + searched) {
        let end = at + value.len();
        let touches = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let inside = touches(text[..at].chars().next_back()) || touches(text[end..].chars().next());
        searched = end;
        if inside && value.len() < LONG {
            continue;
        }
        out.push_str(&text[from..at]);
        out.push_str(GONE);
        from = end;
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some(out)
}
