//! A folder of migrations as a project of some years has it: generated, as many as asked for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// One migration: its version, its up and its down.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The version, which is its name as well.
    pub version: String,
    /// What the newer release does.
    pub up: String,
    /// What takes it back.
    pub down: String,
}

/// A folder of generated migrations, which goes when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    migrations: Vec<Generated>,
}

impl Folder {
    /// Writes a folder of `count` migrations. One of five makes a table, the others change it: a column,
    /// an index, rows, a view.
    ///
    /// # Errors
    /// The folder for temporary files takes nothing.
    pub fn write(count: usize) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("upgrade-folder-{}-{count}", std::process::id()));
        fs::create_dir_all(&path)?;
        let migrations: Vec<Generated> = (1..=count).map(generated).collect();
        for Generated { version, up, down } in &migrations {
            fs::write(path.join(format!("{version}_change.up.sql")), up)?;
            fs::write(path.join(format!("{version}_change.down.sql")), down)?;
        }
        Ok(Self { path, migrations })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it, oldest first.
    pub fn migrations(&self) -> &[Generated] {
        &self.migrations
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is small, and in the system's folder for temporary files.
        fs::remove_dir_all(&self.path).ok();
    }
}

fn generated(number: usize) -> Generated {
    let table = (number - 1) / 5;
    let (up, down) = match (number - 1) % 5 {
        0 => {
            let parent = table.saturating_sub(1);
            (
                format!(
                    "create table things_{table} (
    id bigint generated always as identity primary key,
    parent_id bigint references things_{parent} (id),
    name text not null,
    amount numeric(12, 2) not null default 0,
    created_at timestamptz not null default now()
);\n"
                ),
                format!("drop table things_{table};\n"),
            )
        }
        1 => (
            format!("alter table things_{table} add column note text not null default '';\n"),
            format!("alter table things_{table} drop column note;\n"),
        ),
        2 => (
            format!("create index things_{table}_name on things_{table} (name);\n"),
            format!("drop index things_{table}_name;\n"),
        ),
        3 => (
            format!(
                "alter table things_{table} add column name_length integer;
update things_{table} set name_length = length(name);\n"
            ),
            format!("alter table things_{table} drop column name_length;\n"),
        ),
        _ => (
            format!(
                "create view things_{table}_by_day as
select created_at::date as day, sum(amount) as amount from things_{table} group by 1;\n"
            ),
            format!("drop view things_{table}_by_day;\n"),
        ),
    };
    Generated {
        version: format!("{number:04}"),
        up,
        down,
    }
}
