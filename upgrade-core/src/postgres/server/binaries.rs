//! A folder with server binaries, and the proof that they run here.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::command;
use super::user::RunUser;

/// The oldest major version that is supported.
pub const OLDEST_MAJOR: u16 = 14;

/// `postgres --version` prints one line; a loaded machine gets its time.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// The version of a server, such as 15.18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    major: u16,
    minor: u16,
    text: String,
}

impl ServerVersion {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`.
    /// Versions before a release (`19beta1`, `19devel`) have minor 0.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let number = line
            .strip_prefix("postgres (PostgreSQL) ")?
            .split_whitespace()
            .next()?;
        let digits = |text: &str| {
            text.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .ok()
        };
        let (major, minor) = match number.split_once('.') {
            Some((major, minor)) => (digits(major)?, digits(minor)?),
            None => (digits(number)?, 0),
        };
        Some(Self {
            major,
            minor,
            text: line.to_owned(),
        })
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The minor version, such as 18.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The whole line that the server prints about itself.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A folder with `postgres` and `initdb` that start on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinaries {
    bin_dir: PathBuf,
    version: ServerVersion,
}

impl ServerBinaries {
    /// Asks the `postgres` in a folder for its version. A symbolic link is followed first, because
    /// the server looks for its other files beside itself.
    ///
    /// Answers `Ok(None)` when there is no `postgres` in the folder, and the reason as text when
    /// there is one that cannot be used.
    pub(super) fn probe(folder: &Path, user: &RunUser) -> Result<Option<Self>, String> {
        let named = folder.join("postgres");
        let Ok(program) = named.canonicalize() else {
            // A dangling link and a closed folder look the same as nothing.
            return Ok(None);
        };
        let name = program.display();
        check_program(&program)?;
        let mut version = command::server_command(&program, user, Path::new("/"), Signal::KILL);
        version.arg("--version");
        let finished = command::run(version, PROBE_DEADLINE).map_err(|error| {
            format!("`{name}` does not start as user `{}`: {error}", user.name())
        })?;
        if !finished.status.success() {
            let output = finished.output.trim();
            return Err(format!(
                "`{name} --version` ended with {}: {output}",
                finished.status
            ));
        }
        let version = ServerVersion::parse(&finished.output).ok_or_else(|| {
            format!(
                "`{name} --version` printed `{}`, which is no version",
                finished.output.trim()
            )
        })?;
        if version.major < OLDEST_MAJOR {
            return Err(format!(
                "`{name}` is {version}, and {OLDEST_MAJOR} is the oldest that is supported"
            ));
        }
        let bin_dir = program
            .parent()
            .expect("a program lies in a folder")
            .to_owned();
        if !bin_dir.join("initdb").is_file() {
            return Err(format!(
                "`{name}` is {version}, but no `initdb` lies beside it"
            ));
        }
        Ok(Some(Self { bin_dir, version }))
    }

    /// The folder.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The version of `postgres`.
    pub fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// The path of a program in the folder, such as `pg_dump`, whether it exists or not.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// Refuses what this machine cannot run, before anything is run: the C library hands a file in a
/// foreign format to a shell, which would take its bytes for commands.
fn check_program(program: &Path) -> Result<(), String> {
    let name = program.display();
    let mut head = Vec::new();
    File::open(program)
        .and_then(|file| file.take(20).read_to_end(&mut head))
        .map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    if head.starts_with(b"#!") || !cfg!(target_os = "linux") {
        return Ok(());
    }
    let Some(machine) = elf_machine(&head) else {
        return Err(format!(
            "`{name}` is neither a program of this system nor a script"
        ));
    };
    match our_elf_machine() {
        Some(ours) if ours != machine => Err(format!(
            "`{name}` is built for {}, and this machine is {}",
            elf_machine_name(machine),
            std::env::consts::ARCH
        )),
        _ => Ok(()),
    }
}

/// The machine of an ELF header, in the header's own byte order.
fn elf_machine(head: &[u8]) -> Option<u16> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes = [*head.get(18)?, *head.get(19)?];
    Some(if head[5] == 2 {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

/// Names of machines, as Rust and as ELF call them.
const MACHINES: [(&str, u16); 8] = [
    ("x86", 3),
    ("powerpc64", 21),
    ("s390x", 22),
    ("arm", 40),
    ("x86_64", 62),
    ("aarch64", 183),
    ("riscv64", 243),
    ("loongarch64", 258),
];

fn our_elf_machine() -> Option<u16> {
    MACHINES
        .iter()
        .find(|(name, _)| *name == std::env::consts::ARCH)
        .map(|(_, machine)| *machine)
}

fn elf_machine_name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(_, number)| *number == machine);
    known.map_or_else(
        || format!("ELF machine {machine}"),
        |(name, _)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_server_s_line() {
        let check = |line: &str, expected: Option<(u16, u16)>| {
            let version = ServerVersion::parse(line);
            assert_eq!(
                version.map(|version| (version.major, version.minor)),
                expected,
                "{line}"
            );
        };
        check(
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
            Some((15, 18)),
        );
        check("postgres (PostgreSQL) 18.6", Some((18, 6)));
        check("postgres (PostgreSQL) 9.6.24", Some((9, 6)));
        check("postgres (PostgreSQL) 19devel", Some((19, 0)));
        check("postgres (PostgreSQL) 19beta2", Some((19, 0)));
        check("postgres (PostgreSQL) x", None);
        check("psql (PostgreSQL) 15.18", None);
        check("", None);
    }

    #[test]
    fn the_machine_is_read_in_the_header_s_byte_order() {
        let head = |order: u8, machine: [u8; 2]| {
            let mut head = b"\x7fELF\x02".to_vec();
            head.extend([order]);
            head.resize(18, 0);
            head.extend(machine);
            head
        };
        assert_eq!(elf_machine(&head(1, [183, 0])), Some(183));
        assert_eq!(elf_machine(&head(2, [0, 22])), Some(22));
        assert_eq!(elf_machine(b"\x7fELF"), None);
        assert_eq!(elf_machine(b"MZ"), None);
        assert_eq!(elf_machine_name(22), "s390x");
        assert_eq!(elf_machine_name(9999), "ELF machine 9999");
    }
}
