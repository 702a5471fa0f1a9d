//! What is found on pages, in a browser.

use super::FindingKind;
use super::kind::scenarios::EVERY;
use crate::finding::Severity::{Error, Note, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "page/step-failed",
        title: "a person cannot do on a page what they could",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users cannot finish what they came for: a button is missing, covered or dead, or what follows never appears",
        mend: "open the address in the evidence and do the step by hand; the evidence shows what could be read there",
    },
    FindingKind {
        id: "page/script-error",
        title: "a script of a page raises an error",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "a part of the page does not work, often without a visible sign",
        mend: "read the first message: it names the script and the line; an error that is harmless belongs into the console as a warning",
    },
    FindingKind {
        id: "page/request-failed",
        title: "a request of a page fails",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users see a page with missing parts, or work with data that was not saved",
        mend: "read the status: 404 is usually a path that one release renamed, 5xx an error in the log of the service",
    },
    FindingKind {
        id: "page/dialog",
        title: "a page opens a dialog of the browser",
        severity: Warning,
        otherwise: "",
        scenarios: EVERY,
        breaks: "a person who has to close a dialog is held up, and a test that dismisses it takes the other path",
        mend: "open the page by hand; a question of the page itself is better asked in the page, where steps can answer it",
    },
    FindingKind {
        id: "page/control-lost",
        title: "a control of the previous release is missing on a page",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users do not find what they used before",
        mend: "restore the control, or its name: a control is known by its role and by the name that a screen reader reads",
    },
    FindingKind {
        id: "page/text-differs",
        title: "a page shows another text than the previous release",
        severity: Warning,
        otherwise: "error after a rollback",
        scenarios: EVERY,
        breaks: "users read other data than before the upgrade, or a wording changed",
        mend: "read the lines: a changed wording is meant, a changed figure is usually data that a migration lost or converted",
    },
    FindingKind {
        id: "page/looks-different",
        title: "a page looks different",
        severity: Note,
        otherwise: "error after a rollback, or if pixels must be equal",
        scenarios: EVERY,
        breaks: "users see a changed layout, such as a button behind another element",
        mend: "look at the picture: on the left the previous release, then this one, on the right the difference in red",
    },
    FindingKind {
        id: "page/step-without-effect",
        title: "a step has no effect any more",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users press a button, and nothing happens",
        mend: "press the button by hand with the console of the browser open; the usual cause is a script that was not loaded, or a listener for an element that was renamed",
    },
    FindingKind {
        id: "page/less-accessible",
        title: "a page breaks rules of accessibility that the previous release kept",
        severity: Warning,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users who depend on a screen reader or on the keyboard cannot use a part of the page",
        mend: "read the rule in the documentation of axe-core: it names the elements to look for",
    },
];
