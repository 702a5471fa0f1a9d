//! Access logs in the Common and the Combined Log Format.

use super::recording::{Recorded, Recording};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Request, Response};

pub(super) fn read(name: &str, text: &str) -> Result<Recording> {
    let mut recording = Recording::new([]);
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Some(entry) = Entry::read(line) else {
            let message = format!("line {} of `{name}` is not of an access log", at + 1);
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint(
                "the formats are Common and Combined: `HOST IDENT USER [TIME] \"GET /PATH HTTP/1.1\" STATUS BYTES`",
            ));
        };
        let Some((method, target)) = entry.request() else {
            recording.skip("no request");
            continue;
        };
        if !matches!(method, "GET" | "HEAD") {
            recording.skip(method);
            continue;
        }
        let user = if entry.user == "-" {
            entry.host
        } else {
            entry.user
        };
        let recorded = Recorded::new(Request::new(method, target)).of_user(user);
        recording.push(recorded.with_answer(Response::new(entry.status)));
    }
    Ok(recording)
}

struct Entry<'l> {
    host: &'l str,
    user: &'l str,
    line: &'l str,
    status: u16,
}

impl<'l> Entry<'l> {
    fn read(line: &'l str) -> Option<Self> {
        let (head, rest) = line.split_once(" [")?;
        let mut head = head.split(' ');
        let (host, _, user) = (head.next()?, head.next()?, head.next()?);
        let (_, rest) = rest.split_once("] \"")?;
        let (line, rest) = rest.split_at(end_of_quoted(rest)?);
        let status = rest[1..].trim_start().split(' ').next()?;
        Some(Self {
            host,
            user,
            line,
            status: status.parse().ok()?,
        })
    }

    /// Method and target; `None` for what was no request of HTTP.
    fn request(&self) -> Option<(&'l str, &'l str)> {
        let mut parts = self.line.split(' ');
        let (method, target, _) = (parts.next()?, parts.next()?, parts.next()?);
        // One to a proxy names the server.
        let target = match target.split_once("://") {
            Some(("http" | "https", rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            _ => target,
        };
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        // What a server could not print stands there as `\x16`.
        (is_method && target.starts_with('/') && !target.contains('\\')).then_some((method, target))
    }
}

/// Where the quote stands that is not escaped.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.find(|char| {
        let ends = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_taken_and_the_rest_is_counted() {
        let log = "\
            10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \"GET /orders?page=2 HTTP/1.1\" 200 2326\n\
            \n\
            ::1 - ann [10/Oct/2026:13:55:36 +0000] \"HEAD http://h/x HTTP/1.0\" 304 - \"http://r/\" \"agent \\\" [x] 1\"\n\
            10.0.0.1 - - [10/Oct/2026:13:55:37 +0000] \"POST /orders HTTP/1.1\" 201 5\n\
            10.0.0.1 - - [10/Oct/2026:13:55:37 +0000] \"POST /orders HTTP/1.1\" 201 5\n\
            10.0.0.1 - - [10/Oct/2026:13:55:38 +0000] \"\\x16\\x03\\x01\" 400 157\n\
            10.0.0.1 - - [10/Oct/2026:13:55:39 +0000] \"-\" 408 0\n";
        let recording = read("access.log", log).unwrap();
        let read: Vec<String> = recording
            .requests()
            .iter()
            .map(|one| format!("{}: {}: {:?}", one.user, one.request, one))
            .collect();
        assert_eq!(
            read,
            [
                "10.0.0.1: GET /orders?page=2: GET /orders -> 200",
                "ann: HEAD /x: HEAD /x -> 304"
            ]
        );
        let skipped: Vec<_> = recording.skipped().iter().collect();
        assert_eq!(
            skipped,
            [(&"POST".to_owned(), &2), (&"no request".to_owned(), &2)]
        );
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        for line in [
            "{\"method\": \"GET\"}",
            "h - - [t] \"GET / HTTP/1.1\" two 3",
            "h - - [t] \"GET /",
        ] {
            let text = format!("h - - [t] \"GET / HTTP/1.1\" 200 3\n{line}\n");
            let error = read("access.log", &text).unwrap_err();
            assert!(
                error.to_string().starts_with("line 2 of `access.log`"),
                "{error}"
            );
        }
    }
}
