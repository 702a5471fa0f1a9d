//! For a browser: one file that needs no other.

use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use upgrade_core::{Error, ErrorKind, Result, Severity};

use super::text::{at, verdict};
use super::{Entry, Summary};

const PAGE: &str = include_str!("page.html");

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    at: Option<String>,
}

#[derive(Serialize)]
struct Step {
    id: u32,
    attempt: u32,
    phase: String,
    title: String,
    outcome: &'static str,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct Figure {
    subject: String,
    metric: String,
    unit: String,
    baseline: Option<String>,
    secondary: Option<String>,
    candidate: String,
}

#[derive(Serialize)]
struct Attached {
    name: String,
    media_type: String,
    base64: String,
    is_picture: bool,
    /// Whether something in the same step failed.
    failed: bool,
}

#[derive(Serialize)]
struct Shape {
    name: String,
    crate_name: String,
    passed: bool,
    from: String,
    to: String,
    seed: u64,
    elapsed_ms: u64,
    rows: u64,
    tables: u64,
    reproduce: Option<String>,
    steps: Vec<Step>,
    changes: Vec<(String, String, String)>,
    rollbacks: Vec<(String, u64, u64, bool)>,
    figures: Vec<Figure>,
    attached: Vec<Attached>,
}

impl Summary {
    /// As one HTML page.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it cannot be written.
    pub fn to_html(&self) -> Result<String> {
        let failed = |source: minijinja::Error| {
            Error::new(ErrorKind::Internal, "the page could not be written").with_source(source)
        };
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_template("page", PAGE).map_err(failed)?;
        let (accepted, open): (Vec<&Entry>, Vec<&Entry>) =
            self.entries.iter().partition(|entry| entry.known.is_some());
        let is_note = |entry: &&Entry| entry.severity == Severity::Note;
        let (notes, open): (Vec<&Entry>, Vec<&Entry>) = open.into_iter().partition(is_note);
        let shown = |entries: Vec<&'_ Entry>| {
            let shown = entries.into_iter().map(|entry| {
                let at = at(entry);
                minijinja::Value::from_serialize(Shown { entry, at })
            });
            shown.collect::<Vec<_>>()
        };
        let page = environment.get_template("page").map_err(failed)?;
        page.render(context! {
            verdict => verdict(self),
            passed => self.passed(),
            headline => self.headline(),
            entries => shown(open),
            notes => shown(notes),
            accepted => shown(accepted),
            not_verified => self.not_verified,
            cases => self.cases.iter().map(shape).collect::<Vec<_>>(),
        })
        .map_err(failed)
    }
}

fn shape(case: &super::Case) -> Shape {
    let report = &case.report;
    let steps = report.steps.iter().map(|step| Step {
        id: step.id.0,
        attempt: step.attempt,
        phase: step.phase.to_string(),
        title: step.title.clone(),
        outcome: step.outcome.as_str(),
        elapsed_ms: step.elapsed_ms,
    });
    let changes = report.schema.iter().map(|change| {
        let migration = change.migration.as_ref().map(ToString::to_string);
        (
            migration.unwrap_or_default(),
            change.object.clone(),
            change.change.clone(),
        )
    });
    let rollbacks = report.rollbacks.iter().map(|rollback| {
        let strategy = rollback.strategy.clone();
        (
            strategy,
            rollback.total_ms(),
            rollback.within_ms,
            rollback.confirmed,
        )
    });
    let number = |value: f64| format!("{value:.3}");
    let figures = report.measurements.iter().map(|measured| {
        let figure = &measured.measurement;
        Figure {
            subject: figure.subject.clone(),
            metric: figure.metric.clone(),
            unit: figure.unit.clone(),
            baseline: figure.baseline.map(number),
            secondary: figure.secondary.map(number),
            candidate: number(figure.candidate),
        }
    });
    let attached = report.attachments.iter().map(|attached| {
        let file = &attached.attachment;
        let mut of_step = report
            .findings
            .iter()
            .filter(|found| found.step == attached.step);
        Attached {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            base64: file.base64.clone(),
            is_picture: matches!(file.media_type.as_str(), "image/png" | "image/jpeg"),
            failed: of_step.any(|found| found.finding.fails()),
        }
    });
    Shape {
        name: case.name.clone(),
        crate_name: case.crate_name.clone(),
        passed: report.passed,
        from: report.from.to_string(),
        to: report.to.to_string(),
        seed: report.seed,
        elapsed_ms: report.elapsed_ms,
        rows: report.rows,
        tables: report.tables,
        reproduce: report.reproduce.clone(),
        steps: steps.collect(),
        changes: changes.collect(),
        rollbacks: rollbacks.collect(),
        figures: figures.collect(),
        attached: attached.collect(),
    }
}
