//! Notifications as the bodies of HTTP requests. Pure.

use serde_json::{Value, json};

use super::{Kind, Notification, Severity};

/// Slack refuses a section of more characters, escapes included.
const SECTION: usize = 3_000;

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// CloudEvents 1.0 in structured mode: `application/cloudevents+json`. The type is `upgrade.` and the
    /// [`Kind`], the source `/journals/` and the id of the journal, the subject the target, and the data
    /// the notification.
    CloudEvents,
    /// An incoming webhook of Slack, or of another chat that accepts the same format.
    Slack,
    /// The [`Notification`] alone.
    Json,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json; charset=utf-8",
            Self::Slack | Self::Json => "application/json",
        }
    }

    pub(super) fn body(self, notification: &Notification) -> Value {
        match self {
            Self::CloudEvents => cloud_event(notification),
            Self::Slack => slack(notification),
            Self::Json => json!(notification),
        }
    }
}

fn cloud_event(notification: &Notification) -> Value {
    let Notification {
        id,
        journal,
        kind,
        at,
        target,
        ..
    } = notification;
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/journals/{journal}"),
        "type": format!("upgrade.{kind}"),
        "time": at,
        "subject": target,
        "datacontenttype": "application/json",
        "data": notification,
    })
}

fn slack(notification: &Notification) -> Value {
    let Notification {
        seq,
        hash,
        actor,
        host,
        kind,
        severity,
        title,
        text,
        ..
    } = notification;
    let mark = match (severity, kind) {
        (Severity::Error, _) => ":red_circle: ",
        (Severity::Warning, _) => ":large_yellow_circle: ",
        (Severity::Info, Kind::Finalized | Kind::RollbackDone) => ":large_green_circle: ",
        (Severity::Info, _) => "",
    };
    let title = format!("{mark}{}", escaped(title, SECTION / 4));
    let mut section = format!("*{title}*");
    if !text.is_empty() {
        section.push('\n');
        let room = SECTION - section.chars().count();
        section.push_str(&escaped(text, room));
    }
    let head = hash.get(..16).unwrap_or(hash);
    let by = format!("{actor} on {host}, record {seq}, head `{head}`");
    json!({
        "text": title,
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": section } },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": escaped(&by, SECTION) }] },
        ],
    })
}

/// A text in which nothing is a mention or a link, cut off where it would have more characters.
fn escaped(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let mut buffer = [0; 4];
        let piece: &str = match next {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            other => other.encode_utf8(&mut buffer),
        };
        length += piece.chars().count();
        // Room for the mark, unless this is the end.
        if length + usize::from(rest.peek().is_some()) > most {
            shown.push('…');
            break;
        }
        shown.push_str(piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_mention_a_link_or_half_an_escape() {
        for (text, most, shown) in [
            ("a < b && c > d", 99, "a &lt; b &amp;&amp; c &gt; d"),
            (
                "<!channel> <https://x|y>",
                99,
                "&lt;!channel&gt; &lt;https://x|y&gt;",
            ),
            ("&lt;", 99, "&amp;lt;"),
            ("", 5, ""),
            ("héllo", 5, "héllo"),
            ("hällo!", 5, "häll…"),
            ("a&b", 5, "a…"),
            ("ab&", 7, "ab&amp;"),
            ("ab&c", 7, "ab…"),
        ] {
            assert_eq!(escaped(text, most), shown, "{text:?}, {most}");
            assert!(shown.chars().count() <= most);
        }
    }
}
