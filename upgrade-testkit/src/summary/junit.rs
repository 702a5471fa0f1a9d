//! For CI systems that read JUnit.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};
use upgrade_core::{Error, ErrorKind, Result};

use super::Summary;

impl Summary {
    /// As JUnit: one suite for each crate, one test for each case, with its report as output.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it cannot be written.
    pub fn to_junit(&self) -> Result<String> {
        let mut junit = Junit::new("upgrade");
        let crates = self
            .cases
            .chunk_by(|one, other| one.crate_name == other.crate_name);
        for cases in crates {
            let mut suite = TestSuite::new(cases[0].crate_name.as_str());
            for case in cases {
                let status = if case.report.passed {
                    TestCaseStatus::success()
                } else {
                    let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    let mut findings = case.report.findings.iter().map(|found| &found.finding);
                    let first = findings.find(|finding| finding.fails());
                    let message = first.map_or("could not be judged".to_owned(), |finding| {
                        format!("{}: {}", finding.subject, finding.message)
                    });
                    failed
                        .set_message(message)
                        .set_type(first.map_or("inconclusive", |finding| finding.id.as_str()));
                    failed.set_description(case.report.to_string());
                    failed
                };
                let mut test = TestCase::new(case.name.as_str(), status);
                test.set_classname(case.crate_name.as_str());
                test.set_time(Duration::from_millis(case.report.elapsed_ms));
                if case.report.passed {
                    test.set_system_out(case.report.to_string());
                }
                suite.add_test_case(test);
            }
            junit.add_test_suite(suite);
        }
        junit.to_string().map_err(|source| {
            Error::new(ErrorKind::Internal, "the JUnit file could not be written")
                .with_source(source)
        })
    }
}
