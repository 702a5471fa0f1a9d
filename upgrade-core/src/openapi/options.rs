//! What [`compare`](super::compare) is asked for.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::error::{Error, ErrorKind, Result};
use crate::finding::Severity;

/// How two descriptions are compared: changes that teams judge differently, and the date.
///
/// The defaults take the side of clients that are deployed and cannot be changed with the service. Only
/// [`with_response_enum_value_added`](Self::with_response_enum_value_added) and
/// [`with_closed_response_opened`](Self::with_closed_response_opened) are warnings by default, because most
/// clients cope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompareOptions {
    /// The day on which sunsets are judged. Without one, no sunset has passed.
    pub(super) today: Option<Date>,
    /// A response can have a value that `enum` did not list. Default: a warning.
    pub response_enum_value_added: Severity,
    /// A property or a parameter is now required, and has a default. Default: an error, because a default
    /// is what the service assumes and not what makes an incomplete request valid.
    pub required_with_default: Severity,
    /// A response can now be `null`. Default: an error.
    pub response_now_nullable: Severity,
    /// A response of one schema is now one of several, the old one among them. Default: an error.
    pub response_now_one_of: Severity,
    /// A response no longer has a property that it was never required to have. Default: an error.
    pub optional_response_property_removed: Severity,
    /// A response that allowed no other properties now has one more, or allows others. Default: a warning.
    pub closed_response_opened: Severity,
    /// Whether a breaking change is a warning where the major version of the interface grows.
    pub breaking_in_major: bool,
    /// Whether changes that break nobody are reported, as notes.
    pub compatible_changes: bool,
    /// Extensions whose change is a warning, such as `x-rate-limit`. Others are not compared.
    pub extensions: BTreeSet<String>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            today: None,
            response_enum_value_added: Severity::Warning,
            required_with_default: Severity::Error,
            response_now_nullable: Severity::Error,
            response_now_one_of: Severity::Error,
            optional_response_property_removed: Severity::Error,
            closed_response_opened: Severity::Warning,
            breaking_in_major: false,
            compatible_changes: false,
            extensions: BTreeSet::new(),
        }
    }
}

impl CompareOptions {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The day on which sunsets are judged, as `2026-11-30`. Default: none, so that no sunset has passed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another text.
    pub fn with_today(mut self, day: &str) -> Result<Self> {
        let date = day.parse().map_err(|source: jiff::Error| {
            let message = format!("`{day}` is not a day");
            Error::new(ErrorKind::InvalidInput, message)
                .with_source(source)
                .with_hint("write it as `2026-11-30`")
        })?;
        self.today = Some(date);
        Ok(self)
    }

    /// How much it weighs that a response can have a value that `enum` did not list. Default: a warning.
    /// With `x-extensible-enum` it breaks nobody, whatever is set here.
    #[must_use]
    pub fn with_response_enum_value_added(mut self, severity: Severity) -> Self {
        self.response_enum_value_added = severity;
        self
    }

    /// How much it weighs that something with a default is now required. Default: an error.
    #[must_use]
    pub fn with_required_with_default(mut self, severity: Severity) -> Self {
        self.required_with_default = severity;
        self
    }

    /// How much it weighs that a response can now be `null`, whether by its type or by `anyOf`. Default: an
    /// error.
    #[must_use]
    pub fn with_response_now_nullable(mut self, severity: Severity) -> Self {
        self.response_now_nullable = severity;
        self
    }

    /// How much it weighs that a response of one schema is now one of several, the old one among them.
    /// Default: an error.
    #[must_use]
    pub fn with_response_now_one_of(mut self, severity: Severity) -> Self {
        self.response_now_one_of = severity;
        self
    }

    /// How much it weighs that a response no longer has an optional property. Default: an error.
    #[must_use]
    pub fn with_optional_response_property_removed(mut self, severity: Severity) -> Self {
        self.optional_response_property_removed = severity;
        self
    }

    /// How much it weighs that a response with `additionalProperties: false` gets one more property, or
    /// allows others. Default: a warning.
    #[must_use]
    pub fn with_closed_response_opened(mut self, severity: Severity) -> Self {
        self.closed_response_opened = severity;
        self
    }

    /// Makes errors warnings if the major version of the interface, the first number of `info.version`,
    /// grows.
    #[must_use]
    pub fn with_breaking_in_major(mut self) -> Self {
        self.breaking_in_major = true;
        self
    }

    /// Reports changes that break nobody, too, as notes.
    #[must_use]
    pub fn with_compatible_changes(mut self) -> Self {
        self.compatible_changes = true;
        self
    }

    /// Compares an extension, such as `x-rate-limit`; its change is a warning. Extensions are not compared
    /// otherwise, but for `x-sunset` and `x-extensible-enum`, which have rules.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>) -> Self {
        self.extensions.insert(name.into());
        self
    }
}
