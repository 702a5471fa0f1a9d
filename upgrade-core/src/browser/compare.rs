//! One page on the previous release, twice, and on what is judged.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::page::{Page, listed};
use super::picture::Tiles;
use super::state::{Noise, text_differences};
use super::visit::{Expected, Visit};
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::measurement::Measurement;
use crate::side::{Candidate, Side};
use crate::validator::{Validator, Verdict};

/// How many bytes a picture side by side may have.
const PICTURE: usize = 3 * 1024 * 1024;

/// How many lines of a difference are shown.
const SHOWN: usize = 40;

/// Judges a page by the previous release in the same run, in layers: errors and failed requests, steps and
/// their effects, controls and texts, rules of accessibility, pixels.
///
/// What differs between the two systems of the previous release is noise. What the previous release does
/// wrong as well is no finding. After a rollback, texts and pixels must be equal, too; else they are reported
/// only, because a new release may look different.
#[derive(Debug, Clone)]
pub struct PageComparison {
    page: Page,
    pixels: Severity,
}

impl PageComparison {
    pub(super) fn new(page: Page) -> Self {
        Self {
            page,
            pixels: Severity::Note,
        }
    }

    /// Also fails if the page looks different in any pixel.
    #[must_use]
    pub fn pixels_must_be_equal(mut self) -> Self {
        self.pixels = Severity::Error;
        self
    }

    fn judge(
        &self,
        cx: &UpgradeContext,
        old: &Visit,
        again: &Visit,
        new: &Visit,
        expected: &Expected,
    ) -> Vec<Finding> {
        let (page, noise) = (&self.page, &expected.noise);
        let mut findings = Vec::new();
        for (id, what, of) in [
            (
                "page/script-error",
                "errors of scripts",
                (|visit| &visit.log.script_errors) as Messages,
            ),
            ("page/request-failed", "failed requests", |visit| {
                &visit.log.failed_requests
            }),
            (
                "page/less-accessible",
                "rules of accessibility that are broken",
                |visit| &visit.rules,
            ),
        ] {
            let known: BTreeSet<&String> = of(old).keys().chain(of(again).keys()).collect();
            let added = of(new).iter().filter(|(key, _)| !known.contains(key));
            let added: Vec<String> = added
                .map(|(key, message)| match id {
                    "page/less-accessible" => format!("{key}: {message}"),
                    _ => message.clone(),
                })
                .collect();
            if !added.is_empty() {
                let message = format!(
                    "{} {what} that the previous release does not have",
                    added.len()
                );
                let finding = match id {
                    "page/less-accessible" => Finding::warning(id, &page.name, message),
                    _ => Finding::error(id, &page.name, message),
                };
                findings.push(finding.with_evidence(cx.redact(&listed(added.iter()))));
            }
        }
        let known: BTreeSet<&String> = old.log.dialogs.union(&again.log.dialogs).collect();
        let added: Vec<&String> = new
            .log
            .dialogs
            .iter()
            .filter(|dialog| !known.contains(dialog))
            .collect();
        findings.extend(page.dialogs(cx, added.into_iter()));
        findings.extend(page.step_failed(new));
        for (number, trace) in &new.traces {
            let effects = |visit: &Visit| {
                visit
                    .traces
                    .get(number)
                    .is_some_and(|trace| trace.has_effect(noise))
            };
            if effects(old) && effects(again) && !trace.has_effect(noise) {
                let requests = &old.traces[number].requests;
                let before = match requests.len() {
                    0 => "the page changed".to_owned(),
                    _ => format!(
                        "it sent `{}`",
                        requests.iter().cloned().collect::<Vec<_>>().join("`, `")
                    ),
                };
                let message = format!(
                    "the step `{}` has no effect; in the previous release {before}",
                    page.steps[*number]
                );
                findings.push(Finding::error(
                    "page/step-without-effect",
                    &page.name,
                    message,
                ));
            }
        }
        // A page that failed midway is another page.
        if new.failure.is_none() {
            findings.extend(self.contents(cx, old, again, new, expected));
        }
        findings
    }

    fn contents(
        &self,
        cx: &UpgradeContext,
        old: &Visit,
        again: &Visit,
        new: &Visit,
        expected: &Expected,
    ) -> Vec<Finding> {
        let page = &self.page;
        let mut findings = Vec::new();
        let (lost, noisy) = (new.state.lacks(&old.state), again.state.lacks(&old.state));
        let lost: Vec<String> = lost
            .difference(&noisy)
            .map(|control| (*control).to_owned())
            .collect();
        if !lost.is_empty() {
            let message = format!(
                "{} controls of the previous release are missing",
                lost.len()
            );
            let finding = Finding::error("page/control-lost", &page.name, message);
            findings.push(finding.with_evidence(cx.redact(&listed(lost.iter()))));
        }
        let mut lines = text_differences(&old.state, &new.state, &expected.noise);
        if !lines.is_empty() {
            let message = format!("{} lines of the page differ", lines.len());
            if lines.len() > SHOWN {
                lines.truncate(SHOWN);
                lines.push("...".to_owned());
            }
            let weight = weight(cx, Severity::Warning);
            let finding = Finding::warning("page/text-differs", &page.name, message);
            let finding = Finding {
                severity: weight,
                ..finding
            };
            findings.push(finding.with_evidence(cx.redact(&lines.join("\n"))));
        }
        findings.extend(self.pixels(cx, old, new, &expected.without));
        findings
    }

    fn pixels(
        &self,
        cx: &UpgradeContext,
        old: &Visit,
        new: &Visit,
        without: &Tiles,
    ) -> Option<Finding> {
        let (before, after) = (old.picture.as_ref()?, new.picture.as_ref()?);
        let difference = before.difference(after, without);
        if difference.pixels == 0 {
            return None;
        }
        let regions: Vec<String> = difference
            .regions()
            .iter()
            .map(|region| format!("{region}"))
            .collect();
        let message = format!(
            "{} pixels differ, in {} regions",
            difference.pixels,
            regions.len()
        );
        match before.beside(after, &difference, PICTURE) {
            Ok(png) => self
                .page
                .attach(cx, "previous release, this one, difference", &png),
            Err(error) => tracing::warn!(%error, "a picture cannot be written"),
        }
        let finding = Finding::note("page/looks-different", &self.page.name, message);
        let finding = Finding {
            severity: weight(cx, self.pixels),
            ..finding
        };
        Some(finding.with_evidence(listed(regions.iter())))
    }
}

type Messages = fn(&Visit) -> &BTreeMap<String, String>;

/// After a rollback everything must be as before.
fn weight(cx: &UpgradeContext, otherwise: Severity) -> Severity {
    match cx.candidate() {
        Some(Candidate::RolledBack) => Severity::Error,
        _ => otherwise,
    }
}

/// What the comparison of pictures leaves out: where the two of the previous release differ, and the texts
/// that do.
fn without(old: &Visit, again: &Visit, noise: &Noise) -> Tiles {
    let mut tiles = old.noisy_tiles(noise);
    tiles.extend(again.noisy_tiles(noise));
    if let (Some(one), Some(two)) = (&old.picture, &again.picture) {
        tiles.extend(one.difference(two, &Tiles::new()).tiles_around());
    }
    tiles
}

#[async_trait]
impl Validator for PageComparison {
    fn name(&self) -> &str {
        &self.page.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let page = &self.page;
        let old = page.run(&cx.at_side(Side::Baseline)?, None).await?;
        let again = page.run(&cx.at_side(Side::Secondary)?, None).await?;
        for (visit, side) in [(&old, Side::Baseline), (&again, Side::Secondary)] {
            if let Some(failure) = &visit.failure {
                return Ok(Verdict::Inconclusive(format!(
                    "the previous release ({side}) cannot do the step `{}`: {}",
                    failure.step, failure.reason
                )));
            }
        }
        let noise = Noise::learn(&old.state, &again.state);
        let effects = old.traces.iter().filter(|(number, trace)| {
            let second = again.traces.get(*number);
            trace.has_effect(&noise) && second.is_some_and(|second| second.has_effect(&noise))
        });
        let mut expected = Expected {
            effects: effects.map(|(number, _)| *number).collect(),
            state: old.state.clone(),
            picture: old.picture.clone(),
            without: without(&old, &again, &noise),
            noise,
        };
        let new = page
            .run(&cx.at_side(Side::Candidate)?, Some(&expected))
            .await?;
        expected.without.extend(new.noisy_tiles(&expected.noise));
        if let (Some(one), Some(two), Some(three)) = (&old.picture, &again.picture, &new.picture) {
            let left_out = &expected.without;
            let count = |pixels: u64| pixels as f64;
            cx.measure(
                Measurement::new(
                    &page.name,
                    "pixels that differ",
                    "px",
                    count(one.difference(three, left_out).pixels),
                )
                .with_secondary(count(one.difference(two, &Tiles::new()).pixels)),
            );
        }
        let findings = self.judge(cx, &old, &again, &new, &expected);
        if findings.iter().any(Finding::fails) {
            if new.failure.is_some()
                && let Some(png) = new.picture.and_then(|picture| picture.png().ok())
            {
                page.attach(cx, "the page after the step", &png);
            }
            return Ok(Verdict::Fail(findings));
        }
        if self.pixels == Severity::Error && (old.picture.is_none() || new.picture.is_none()) {
            let reason = "there is no picture of a page that shows a secret";
            return Ok(Verdict::Inconclusive(reason.to_owned()));
        }
        // A pass carries no findings, so these are reported beside it.
        for finding in findings {
            cx.notice(finding);
        }
        Ok(Verdict::Pass)
    }
}
