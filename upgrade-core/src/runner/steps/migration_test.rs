//! A test of one migration: its rows are put in, and its checks run.

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind};
use crate::finding::Blame;
use crate::migration::MigrationId;
use crate::migration_test::MigrationTest;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::validator::Verdict;

use super::{migration, validate};

fn tests<'r>(run: &Run<'r>, id: &MigrationId) -> impl Iterator<Item = &'r MigrationTest> {
    let all = run.upgrade.tests().iter();
    all.filter(|test| test.version() == id.version())
}

pub(super) async fn given(run: &Run<'_>, cx: &UpgradeContext, id: &MigrationId) -> StepResult {
    for test in tests(run, id) {
        for rows in test.rows() {
            rows.0.write(cx).await.map_err(|source| {
                let message = format!("the rows of the test of {id} could not be put in");
                Error::new(ErrorKind::InvalidInput, message)
                    .with_source(source)
                    .with_hint("they are put in before the migration, beside generated rows, which may have the \
                         same key")
            })?;
        }
    }
    Ok(Verdict::Pass)
}

pub(super) async fn judge(
    run: &Run<'_>,
    cx: &UpgradeContext,
    id: &MigrationId,
    reverted: bool,
) -> StepResult {
    let checks = tests(run, id).flat_map(|test| test.checks(reverted));
    let mut verdict = validate::run_all(cx, checks.map(|check| &check.0)).await?;
    if let Verdict::Fail(found) = &mut verdict {
        let files = migration(run, id)?.files();
        let file = if reverted { files.down } else { files.up };
        for finding in found {
            finding.blames.get_or_insert_with(|| Blame {
                migration: id.clone(),
                file: file.clone(),
            });
        }
    }
    Ok(verdict)
}
