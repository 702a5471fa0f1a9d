//! Checksums of migrations, each as its tool computes it.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha384};
use siphasher::sip::SipHasher13;

/// How a [`FileChecksum`] was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// sqlx: SHA-384 of the file.
    Sha384,
    /// refinery: SipHash 1-3 over name, version and SQL; 8 bytes, the highest first.
    SipHash13,
    /// Flyway: CRC-32 over the lines without their ends; 4 bytes, the highest first.
    Crc32Lines,
    /// Ours, where the tool has none: BLAKE3 of the file.
    Blake3,
}

/// The checksum of a migration, in the bytes that stand in the tool's table, if they stand there.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FileChecksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// The value.
    pub bytes: Vec<u8>,
}

impl FileChecksum {
    pub(super) fn sha384(content: &[u8]) -> Self {
        Self {
            algorithm: ChecksumAlgorithm::Sha384,
            bytes: Sha384::digest(content).to_vec(),
        }
    }

    pub(super) fn blake3(content: &[u8]) -> Self {
        let bytes = blake3::hash(content).as_bytes().to_vec();
        Self {
            algorithm: ChecksumAlgorithm::Blake3,
            bytes,
        }
    }

    /// refinery hashes the version in the width of its `SchemaVersion`: 32 bits unless its feature
    /// `int8-versions` is on, which a version beyond 32 bits needs.
    pub(super) fn siphash(name: &str, version: i64, sql: &str) -> Self {
        let mut hasher = SipHasher13::new();
        name.hash(&mut hasher);
        match i32::try_from(version) {
            Ok(narrow) => narrow.hash(&mut hasher),
            Err(_) => version.hash(&mut hasher),
        }
        sql.hash(&mut hasher);
        let bytes = hasher.finish().to_be_bytes().to_vec();
        Self {
            algorithm: ChecksumAlgorithm::SipHash13,
            bytes,
        }
    }

    pub(super) fn crc32_lines(sql: &str) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
        for line in sql.split(['\n', '\r']) {
            hasher.update(line.as_bytes());
        }
        let bytes = hasher.finalize().to_be_bytes().to_vec();
        Self {
            algorithm: ChecksumAlgorithm::Crc32Lines,
            bytes,
        }
    }

    /// The value in hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl fmt::Debug for FileChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.algorithm, self.to_hex())
    }
}
