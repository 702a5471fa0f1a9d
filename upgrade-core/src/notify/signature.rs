//! Signatures of Standard Webhooks, by which a receiver knows the sender.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

const PREFIX: &str = "whsec_";

/// The bytes that Standard Webhooks permits.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that the sender and a receiver share.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// Reads `whsec_` and the key in base64.
    pub(super) fn new(secret: &Secret) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!("the secret of the signatures {why}");
            Error::new(ErrorKind::InvalidInput, message)
                .with_hint("write `whsec_` and 24 to 64 random bytes in base64")
        };
        let text = secret.expose();
        let text = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| wrong("does not begin with `whsec_`"))?;
        // The error of the decoder shows a part of the secret.
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| wrong("is not base64 after `whsec_`"))?;
        if !LENGTH.contains(&bytes.len()) {
            return Err(wrong(&format!("has {} bytes", bytes.len())));
        }
        let hmac = Hmac::new_from_slice(&bytes).expect("a key of any length is one");
        Ok(Self(hmac))
    }

    /// The header `webhook-signature`. The time is in seconds since 1970.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut hmac = self.0.clone();
        hmac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specification() {
        // The example of the specification, and a test of its reference library.
        for (secret, id, timestamp, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let key = Key::new(&Secret::new(secret)).unwrap();
            assert_eq!(key.sign(id, timestamp, body), signature);
            assert_ne!(key.sign(id, timestamp + 1, body), signature);
        }
    }

    #[test]
    fn a_malformed_secret_is_refused_and_not_shown() {
        for (secret, why) in [
            ("", "does not begin with `whsec_`"),
            (
                "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "does not begin with `whsec_`",
            ),
            ("whsec_", "has 0 bytes"),
            ("whsec_c2hvcnQ=", "has 5 bytes"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!!", "is not base64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "is not base64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "is not base64"),
        ] {
            let error = Key::new(&Secret::new(secret)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{secret:?}");
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error:#?}").contains("MfKQ"), "{error:#?}");
        }
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        assert!(Key::new(&Secret::new(long)).is_err());
        let key = Key::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        assert_eq!(format!("{key:?}"), "Key(***)");
    }
}
