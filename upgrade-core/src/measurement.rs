//! What a validator reports beside its verdict: figures and files.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many bytes an attachment may have.
#[cfg(feature = "http")]
const AT_MOST: usize = 4 * 1024 * 1024;

/// A figure that was measured, of the release that is judged and of what it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measurement {
    /// What was measured: `GET /orders`.
    pub subject: String,
    /// Which figure: `p95`.
    pub metric: String,
    /// Its unit: `ms`.
    pub unit: String,
    /// The figure of the previous release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The figure of the previous release, measured once more: what the machine's noise is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<f64>,
    /// The figure of the release that is judged.
    pub candidate: f64,
}

/// Figures are finite, so equality is total.
impl Eq for Measurement {}

impl Measurement {
    /// A figure. One that is not finite counts as 0.
    pub fn new(
        subject: impl Into<String>,
        metric: impl Into<String>,
        unit: impl Into<String>,
        candidate: f64,
    ) -> Self {
        Self {
            subject: subject.into(),
            metric: metric.into(),
            unit: unit.into(),
            baseline: None,
            secondary: None,
            candidate: if candidate.is_finite() {
                candidate
            } else {
                0.0
            },
        }
    }

    /// With the figure of the previous release; one that is not finite is left out.
    #[must_use]
    pub fn with_baseline(mut self, baseline: f64) -> Self {
        self.baseline = baseline.is_finite().then_some(baseline);
        self
    }

    /// With the second figure of the previous release; one that is not finite is left out.
    #[must_use]
    pub fn with_secondary(mut self, secondary: f64) -> Self {
        self.secondary = secondary.is_finite().then_some(secondary);
        self
    }
}

/// One line: `GET /orders p95: 3.2 ms, before 2.9 ms (again 2.8)`.
impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            metric,
            unit,
            candidate,
            ..
        } = self;
        write!(f, "{subject} {metric}: {candidate:.3} {unit}")?;
        if let Some(baseline) = self.baseline {
            write!(f, ", before {baseline:.3} {unit}")?;
        }
        if let Some(secondary) = self.secondary {
            write!(f, " (again {secondary:.3})")?;
        }
        Ok(())
    }
}

/// A file that belongs to what was found: a picture, a recording.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// What it shows, in one line.
    pub name: String,
    /// Its media type: `image/png`.
    pub media_type: String,
    /// Its bytes in base64, with padding.
    pub base64: String,
}

impl Attachment {
    /// A file from its bytes; `None` if they are more than 4 MiB, which a report does not take.
    #[cfg(feature = "http")]
    pub fn new(
        name: impl Into<String>,
        media_type: impl Into<String>,
        bytes: &[u8],
    ) -> Option<Self> {
        use base64::Engine as _;
        (bytes.len() <= AT_MOST).then(|| Self {
            name: name.into(),
            media_type: media_type.into(),
            base64: base64::engine::general_purpose::STANDARD.encode(bytes),
        })
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("name", &self.name)
            .field("media_type", &self.media_type)
            .field("base64", &format_args!("{} bytes", self.base64.len()))
            .finish()
    }
}
