//! For GitHub: a line of output for each finding, which the review then shows at its file.

use std::fmt::Write as _;

use upgrade_core::Severity;

use super::Summary;

impl Summary {
    /// As workflow commands: `::error file=..,line=..,title=..::message`. Accepted findings are left
    /// out.
    pub fn to_annotations(&self) -> String {
        let mut lines = String::new();
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            let command = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            for entry in self.open(severity) {
                let mut properties = Vec::new();
                if let Some(file) = &entry.file {
                    properties.push(format!("file={}", property(file)));
                    properties.push(format!("line={}", entry.line.unwrap_or(1)));
                }
                properties.push(format!("title={}", property(&entry.id)));
                let message = format!("{}: {}", entry.subject, entry.message);
                let properties = properties.join(",");
                let _ = writeln!(lines, "::{command} {properties}::{}", data(&message));
            }
        }
        lines
    }
}

/// What GitHub reads as data: a line end would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
