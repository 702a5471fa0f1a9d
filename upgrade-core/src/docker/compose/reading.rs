//! What one reading of compose files may use, and what it has found so far.

use std::cell::RefCell;

use super::variables::Variables;
use crate::docker::host::HostPaths;
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Reading {
    pub(super) variables: Variables,
    /// The files and folders of this machine that may be read or mounted.
    pub(super) host: HostPaths,
    /// The capabilities that are allowed by name.
    pub(super) capabilities: Vec<String>,
    /// Reading goes on after a problem, so that all of them are reported at once.
    problems: RefCell<Vec<Error>>,
    notes: RefCell<Vec<String>>,
}

impl Reading {
    pub(super) fn new(variables: Variables, host: HostPaths, capabilities: Vec<String>) -> Self {
        Self {
            variables,
            host,
            capabilities,
            problems: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    pub(super) fn get(&self, variable: &str) -> Option<String> {
        self.variables.get(variable)
    }

    /// The value, or nothing where there is a problem: that is kept for the end.
    pub(super) fn keep<T>(&self, result: Result<T>) -> Option<T> {
        result
            .map_err(|problem| self.problems.borrow_mut().push(problem))
            .ok()
    }

    /// Notes that something of a file has no effect.
    pub(super) fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    pub(super) fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The value, if no problem was found; else all problems as one error, each once.
    pub(super) fn finish<T>(&self, result: Result<T>) -> Result<T> {
        let value = self.keep(result);
        let mut problems = self.problems.take();
        match (value, problems.len()) {
            (Some(value), 0) => Ok(value),
            (_, 1) => Err(problems.remove(0)),
            _ => Err(together(&problems)),
        }
    }
}

fn together(problems: &[Error]) -> Error {
    let mut lines: Vec<String> = Vec::new();
    for problem in problems {
        let line = match std::error::Error::source(problem) {
            Some(source) => format!("{problem}: {source}"),
            None => problem.to_string(),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let first = problems[0].kind();
    let kind = match problems.iter().all(|problem| problem.kind() == first) {
        true => first,
        false => ErrorKind::InvalidInput,
    };
    let count = lines.len();
    Error::new(
        kind,
        format!(
            "the compose files have {count} problems:\n  {}",
            lines.join("\n  ")
        ),
    )
}
