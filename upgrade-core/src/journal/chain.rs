//! The records of a journal, each with the hash of the one before.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Actor, Entry, FORMAT, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RunId;

/// What stands before the hash at the end of a line.
const HASH: &str = ",\"hash\":\"";

/// A text without what must not be written: borrowed where nothing of that is in it.
pub(super) type Hidden<'h> = dyn for<'t> Fn(&'t str) -> Cow<'t, str> + 'h;

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// The last record of a journal at some moment. Two journals with the same head have the same records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: u64,
    /// Its hash; 64 zeros if there is none.
    pub hash: String,
}

/// The records of a journal, verified.
#[derive(Debug, Clone)]
pub struct Chain {
    records: Vec<Record>,
    hashes: Vec<String>,
    head: Head,
    length: u64,
    lacks_newline: bool,
}

/// Verifies a journal: each line is as it was written, and none is missing between two others.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] names the first line that is wrong, also a last one that is cut off;
/// [`ErrorKind::Unsupported`] for a newer format.
pub fn verify(bytes: &[u8]) -> Result<Chain> {
    let (chain, torn) = Chain::read(bytes, "journal")?;
    match torn {
        None => Ok(chain),
        Some(_) => Err(wrong("journal", chain.records.len() + 1, "it is cut off")),
    }
}

impl Chain {
    /// What tells it from every other one.
    pub(crate) fn id(&self) -> String {
        let first = self.hashes.first();
        first.map_or_else(String::new, |hash| hash.chars().take(16).collect())
    }

    /// Reads a journal. Of a last line that is cut off, the part that is there is returned.
    pub(super) fn read<'b>(bytes: &'b [u8], place: &str) -> Result<(Self, Option<&'b [u8]>)> {
        let mut chain = Self {
            records: Vec::new(),
            hashes: Vec::new(),
            head: Head {
                seq: 0,
                hash: "0".repeat(DIGITS),
            },
            length: 0,
            lacks_newline: false,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = chain.records.len() + 1;
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, next) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            match (chain.link(line, place, number), end) {
                (Ok((record, hash)), _) => {
                    chain.lacks_newline = end.is_none();
                    chain.length += (line.len() + usize::from(end.is_some())) as u64;
                    chain.add(record, hash);
                }
                // Without the end of the line it was never acknowledged.
                (Err(error), None) if error.kind() != ErrorKind::Unsupported => {
                    return Ok((chain, Some(rest)));
                }
                (Err(error), _) => return Err(error),
            }
            rest = next;
        }
        Ok((chain, None))
    }

    /// A line as the next record, if it is that.
    fn link(&self, line: &[u8], place: &str, number: usize) -> Result<(Record, String)> {
        let wrong = |why: &str| wrong(place, number, why);
        let text = std::str::from_utf8(line).map_err(|_| wrong("it is not text"))?;
        let split = text.len().checked_sub(HASH.len() + DIGITS + 2);
        let parts = split.and_then(|at| text.split_at_checked(at));
        let (body, hash) = parts
            .and_then(|(body, end)| {
                let hash = end.strip_prefix(HASH)?.strip_suffix("\"}")?;
                Some((body, hash))
            })
            .ok_or_else(|| wrong("it does not end with its hash"))?;
        let value: Value = serde_json::from_str(text).map_err(|_| wrong("it is not JSON"))?;
        // What a newer release writes may look different in every other respect.
        if let Some(format) = value.get("format").and_then(Value::as_u64)
            && format > u64::from(FORMAT)
            && hash_of(body) == hash
        {
            let message = format!(
                "`{place}`, line {number}: format {format} is newer than {FORMAT}, which this release writes"
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("go on with the release that wrote it, or a newer one"));
        }
        if hash_of(body) != hash {
            return Err(wrong("it was changed: its hash is another"));
        }
        let record: Record =
            serde_json::from_value(value).map_err(|_| wrong("it is no record of a journal"))?;
        if record.prev != self.head.hash || record.seq != self.head.seq + 1 {
            return Err(wrong("it does not follow the line before it"));
        }
        Ok((record, hash.to_owned()))
    }

    /// The next record, and its line.
    pub(super) fn next(
        &self,
        actor: &Actor,
        run: Option<RunId>,
        entry: &Entry,
        hidden: &Hidden<'_>,
    ) -> Result<(Record, String)> {
        let unwritable =
            |source| Error::new(ErrorKind::Internal, "an entry is no JSON").with_source(source);
        let mut value = serde_json::to_value(entry).map_err(unwritable)?;
        let entry = match hide(&mut value, hidden) {
            false => entry.clone(),
            true => {
                let shown: Entry = serde_json::from_value(value).map_err(unwritable)?;
                entry.may_be_shown_as(&shown)?;
                shown
            }
        };
        let record = Record::new(self.head.seq + 1, &self.head.hash, actor, run, entry);
        let text = serde_json::to_string(&record).map_err(unwritable)?;
        let body = text.strip_suffix('}').unwrap_or(&text);
        let hash = hash_of(body);
        Ok((record, format!("{body}{HASH}{hash}\"}}\n")))
    }

    /// Adds a record whose line is written.
    pub(super) fn push(&mut self, record: Record, line: &str) {
        let end = line.len() - "\"}\n".len();
        self.length += line.len() as u64;
        self.add(record, line[end - DIGITS..end].to_owned());
    }

    fn add(&mut self, record: Record, hash: String) {
        self.head = Head {
            seq: record.seq,
            hash: hash.clone(),
        };
        self.records.push(record);
        self.hashes.push(hash);
    }

    /// All records, the oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The hash of a record, by its number.
    pub(crate) fn hash(&self, seq: u64) -> Option<&str> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.hashes.get(at).map(String::as_str)
    }

    /// The last record.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether a record that somebody has seen earlier is in it. If not, lines are missing at the end, or
    /// the whole journal is another one.
    pub fn contains(&self, seen: &Head) -> bool {
        let at = usize::try_from(seen.seq)
            .ok()
            .and_then(|seq| seq.checked_sub(1));
        match at {
            None => seen.hash == "0".repeat(DIGITS),
            Some(at) => self.hashes.get(at) == Some(&seen.hash),
        }
    }

    /// The system that it is about.
    pub fn target(&self) -> Option<&str> {
        self.records
            .iter()
            .rev()
            .find_map(|record| match &record.entry {
                Entry::Opened { target } => Some(target.as_str()),
                _ => None,
            })
    }

    /// The last opening, if no closing follows.
    pub(super) fn left_open(&self) -> Option<&Record> {
        let mut ends = self.records.iter().rev();
        ends.find(|record| matches!(record.entry, Entry::Opened { .. } | Entry::Closed))
            .filter(|record| record.entry != Entry::Closed)
    }

    /// How many bytes its lines have.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether all of the last line is there but its end.
    pub(super) fn lacks_newline(&self) -> bool {
        self.lacks_newline
    }

    /// The end of the last line was written.
    pub(super) fn end_line(&mut self) {
        self.length += u64::from(self.lacks_newline);
        self.lacks_newline = false;
    }
}

fn hash_of(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex().to_string()
}

/// Takes what is hidden out of every text of a value, also out of names. Whether there was anything.
fn hide(value: &mut Value, hidden: &Hidden<'_>) -> bool {
    match value {
        Value::String(text) => match hidden(text) {
            Cow::Owned(without) => {
                *text = without;
                true
            }
            Cow::Borrowed(_) => false,
        },
        Value::Array(all) => all
            .iter_mut()
            .fold(false, |changed, one| hide(one, hidden) | changed),
        Value::Object(all) => {
            let mut changed = all
                .values_mut()
                .fold(false, |changed, one| hide(one, hidden) | changed);
            if all.keys().any(|name| matches!(hidden(name), Cow::Owned(_))) {
                changed = true;
                let fields = std::mem::take(all).into_iter();
                *all = fields
                    .map(|(name, value)| (hidden(&name).into_owned(), value))
                    .collect();
            }
            changed
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn wrong(place: &str, line: usize, why: &str) -> Error {
    let message = format!("`{place}`, line {line}, is not as it was written: {why}");
    Error::new(ErrorKind::InvalidInput, message)
        .with_hint("put the file back from a copy; nothing is done as long as it cannot be trusted")
}
