//! The port of a program, and who listens on it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::folder::marked;
use super::usage::Stat;

/// A port that nobody uses now. Another process may take it before the program does.
pub(super) fn free() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether nobody else can listen on it.
pub(super) fn is_taken(port: u16) -> bool {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Another process that listens on a port instead of the one that `leads` an instance: one that was not started by
/// it, has another process group, and no mark of the folder. `None` also where that cannot be seen.
pub(super) fn stranger(port: u16, leads: u32, folder: &Path) -> Option<u32> {
    let listening = listeners(port);
    let mut found = None;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.filter(|_| !listening.is_empty()) {
        let number = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| holds(&process.path(), &listening)) else {
            continue;
        };
        if is_of(number, leads)
            || marked(folder)
                .iter()
                .any(|pid| pid.as_raw_nonzero().get().unsigned_abs() == number)
        {
            return None;
        }
        found = Some(number);
    }
    found
}

/// The sockets that listen on a port, as links to them read; see proc(5), `/proc/net/tcp`.
fn listeners(port: u16) -> BTreeSet<String> {
    const LISTENS: &str = "0A";
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, own) = fields.get(1)?.rsplit_once(':')?;
            let listens =
                u16::from_str_radix(own, 16) == Ok(port) && fields.get(3) == Some(&LISTENS);
            listens.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        })
        .collect()
}

/// Whether a process has one of these sockets open.
fn holds(process: &Path, sockets: &BTreeSet<String>) -> bool {
    let open = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut links = open.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

/// Whether a process is in the group of another one, or was started by it.
fn is_of(process: u32, leads: u32) -> bool {
    let mut at = process;
    while let Some(stat) = Stat::of(at) {
        if at == leads || stat.group == leads {
            return true;
        }
        at = stat.parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_told_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = std::process::id();
        let folder = Path::new("/nowhere");
        assert!(is_taken(port));
        assert_eq!(stranger(port, me, folder), None);
        // Nothing is started by what has no number.
        assert_eq!(stranger(port, u32::MAX, folder), Some(me));
        drop(listener);
        assert_eq!(stranger(port, u32::MAX, folder), None);
    }

    #[test]
    fn a_child_is_of_those_who_started_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(is_of(child.id(), std::process::id()));
        assert!(!is_of(std::process::id(), child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
