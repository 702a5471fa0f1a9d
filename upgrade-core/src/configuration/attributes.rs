//! Owner, group, permission bits and extended attributes of a file.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::faults::{io, shown};
use crate::error::{Error, ErrorKind, Result};

/// The extended attributes that are part of a set begin with one of these.
const KEPT: [&[u8]; 3] = [b"security.", b"system.posix_acl_", b"user."];

/// Attributes that belong to the content of one file on one disk: no copy can have them.
const OF_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// The label that every file has where SELinux is in use.
const LABEL: &CStr = c"security.selinux";

/// What a file has beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits with set-user-ID, set-group-ID and sticky; 0 for links, which have none.
    pub(super) mode: u32,
    pub(super) extended: BTreeMap<CString, Vec<u8>>,
}

impl Attributes {
    /// Those of an open file or folder.
    pub(super) fn read(file: impl AsFd, stat: &Stat, path: &Path) -> Result<Self> {
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            extended: extended(file, path)?,
        })
    }

    /// Those of a link.
    pub(super) fn of_link(stat: &Stat) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: 0,
            extended: BTreeMap::new(),
        }
    }

    /// Its own mode with the owner and the group of another, and without extended attributes.
    pub(super) fn of_owner(&self, other: &Self) -> Self {
        Self {
            uid: other.uid,
            gid: other.gid,
            mode: self.mode,
            extended: BTreeMap::new(),
        }
    }

    /// With the label of another, if that has one.
    pub(super) fn with_label(mut self, other: &Self) -> Self {
        if let Some((name, value)) = other.extended.get_key_value(LABEL) {
            self.extended.insert(name.clone(), value.clone());
        }
        self
    }

    /// Gives them to a file or folder that this process has made; `of` is where they were read.
    pub(super) fn apply(&self, made: impl AsFd, of: &Path) -> Result<()> {
        let stat = rustix::fs::fstat(&made).map_err(io("read", of))?;
        if (stat.st_uid, stat.st_gid) != (self.uid, self.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::fchown(&made, Some(uid), Some(gid)).map_err(|e| self.not_owner(of, e))?;
        }
        // What a folder gives to each new entry, such as a default access control list, is not wanted.
        let present = extended(&made, of)?;
        for name in present
            .keys()
            .filter(|name| !self.extended.contains_key(*name))
        {
            rustix::fs::fremovexattr(&made, name.as_c_str()).map_err(|e| refused(of, name, e))?;
        }
        for (name, value) in &self.extended {
            if present.get(name) != Some(value) {
                rustix::fs::fsetxattr(&made, name.as_c_str(), value, XattrFlags::empty())
                    .map_err(|e| refused(of, name, e))?;
            }
        }
        // Last: a change of the owner takes bits away.
        rustix::fs::fchmod(&made, Mode::from_raw_mode(self.mode)).map_err(io("given its mode", of))
    }

    /// The error of an owner that this process may not set.
    pub(super) fn not_owner(&self, of: &Path, source: Errno) -> Error {
        let message = format!(
            "a copy of `{}` cannot have its owner {}:{}",
            shown(of),
            self.uid,
            self.gid
        );
        Error::new(ErrorKind::Refused, message)
            .with_source(std::io::Error::from(source))
            .with_hint("run this as root, which alone may give files to other users")
    }
}

fn refused(of: &Path, name: &CString, source: Errno) -> Error {
    let name = name.to_string_lossy();
    let message = format!(
        "a copy of `{}` cannot have its attribute `{name}`",
        shown(of)
    );
    Error::new(ErrorKind::Refused, message).with_source(std::io::Error::from(source))
}

/// The extended attributes that are part of a set.
fn extended(file: impl AsFd, path: &Path) -> Result<BTreeMap<CString, Vec<u8>>> {
    let length = match rustix::fs::flistxattr_query(&file) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(io("read", path)(error)),
    };
    let mut found = BTreeMap::new();
    if length == 0 {
        return Ok(found);
    }
    let mut names = vec![0; length];
    let length = rustix::fs::flistxattr(&file, &mut names[..]).map_err(io("read", path))?;
    for name in names[..length].split(|byte| *byte == 0) {
        if OF_CONTENT.contains(&name) {
            let name = String::from_utf8_lossy(name);
            let message = format!(
                "`{}` has the attribute `{name}`, which no copy of it can have",
                shown(path)
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if !KEPT.iter().any(|kept| name.starts_with(kept)) {
            continue;
        }
        let Ok(name) = CString::new(name) else {
            continue;
        };
        let length =
            rustix::fs::fgetxattr_query(&file, name.as_c_str()).map_err(io("read", path))?;
        let mut value = vec![0; length];
        let length = rustix::fs::fgetxattr(&file, name.as_c_str(), &mut value[..])
            .map_err(io("read", path))?;
        value.truncate(length);
        found.insert(name, value);
    }
    Ok(found)
}
