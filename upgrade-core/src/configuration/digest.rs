//! What a set of configuration files is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The name of a set of configuration files: 64 lower-case hexadecimal digits.
///
/// It is a BLAKE3 hash of all that a switch restores. For each entry that is its relative path, its kind
/// (file, folder, symbolic link), its content, its owner and group, its permission bits, and its access
/// control lists and other extended attributes. Times are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.to_hex().to_string())
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!(
            "`{}` is not the digest of a configuration",
            text.escape_debug()
        );
        Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("a digest has 64 lower-case hexadecimal digits"))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_printed_and_nothing_else_is_one() {
        let digest = Digest::from(blake3::hash(b"x"));
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);

        let upper = digest.as_str().to_uppercase();
        let long = format!("{digest}0");
        for bad in [
            "",
            "../..",
            &upper,
            &long,
            &digest.as_str()[1..],
            &"ä".repeat(32),
        ] {
            let error = bad.parse::<Digest>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("64 lower-case"), "{error}");
            serde_json::from_str::<Digest>(&format!("\"{bad}\"")).unwrap_err();
        }
    }
}
