//! A folder from what `sqlx::migrate!` embedded into a program.

use std::path::PathBuf;

use sqlx::migrate::{Migration, Migrator};

use super::MigrationFolder;
use super::checksum::{ChecksumAlgorithm, FileChecksum};
use super::file::{Delivery, MigrationFile, MigrationKind, Script, TransactionMode, VersionKey};
use super::layout::Layout;
use super::problem::{FolderProblem, ProblemKind};

impl MigrationFolder {
    /// The migrations of a [`Migrator`]. Its checksums are kept, whatever was left out of them.
    /// The paths are what the files would be called.
    pub fn from_sqlx(migrator: &Migrator) -> Self {
        let reason = "it comes from a sqlx migrator".to_owned();
        let mut folder = Self::bare("sqlx migrator", Layout::Sqlx, reason);
        for migration in migrator
            .iter()
            .filter(|m| m.migration_type.is_up_migration())
        {
            let file = file(migrator, migration);
            if let Some(first) = folder.migrations.iter().find(|f| f.version == file.version) {
                let mut problem = FolderProblem::new(
                    ProblemKind::DuplicateVersion,
                    Some(&file.version_text),
                    &file.up.path,
                    format!("version `{}` is taken twice", file.version_text),
                    "give the newer one its own version; until then only the first is read",
                );
                problem.other = Some(first.up.path.clone());
                folder.problems.push(problem);
            } else {
                folder.migrations.push(file);
            }
        }
        folder.migrations.sort_by(|a, b| a.version.cmp(&b.version));
        folder
    }
}

fn file(migrator: &Migrator, migration: &Migration) -> MigrationFile {
    let down = migrator
        .iter()
        .find(|m| m.version == migration.version && m.migration_type.is_down_migration());
    MigrationFile {
        version: VersionKey::Number(migration.version.into()),
        version_text: migration.version.to_string(),
        name: migration.description.replace(' ', "_"),
        kind: MigrationKind::Versioned,
        up: script(migration),
        down: down.map(script),
        checksum: FileChecksum {
            algorithm: ChecksumAlgorithm::Sha384,
            bytes: migration.checksum.to_vec(),
        },
    }
}

fn script(migration: &Migration) -> Script {
    Script {
        path: PathBuf::from(format!(
            "{}_{}{}",
            migration.version,
            migration.description.replace(' ', "_"),
            migration.migration_type.suffix()
        )),
        sql: migration.sql.as_str().to_owned(),
        first_line: 1,
        transaction: if migration.no_tx {
            TransactionMode::None
        } else {
            TransactionMode::Wrapped
        },
        delivery: Delivery::WholeScript,
    }
}
