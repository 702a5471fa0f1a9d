//! A configuration in files of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::contract::Configuration;
use super::difference::Difference;
use super::digest::Digest;
use super::faults::{changing, io, shown};
use super::live::Live;
use super::place::{resolve, resolve_existing};
use super::store::{Store, device};
use super::tree::Entry;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;

/// A configuration in a folder, or one file, of this machine.
///
/// Cheap to clone. Nothing is read or made before the first call.
///
/// ```no_run
/// use upgrade_core::UpgradeContext;
/// use upgrade_core::configuration::{ConfigFiles, Configuration};
///
/// # async fn upgrade() -> upgrade_core::Result<()> {
/// let configuration = ConfigFiles::new(
///     "orders",
///     "/etc/orders",
///     "/etc/.orders-upgrade",
///     "/srv/releases/1.5/etc",
/// );
/// let cx = UpgradeContext::new("1.4", "1.5");
/// let old = configuration.keep_live(&cx).await?;
/// let new = configuration.keep_new(&cx).await?;
/// configuration.switch(&cx, &old, &new).await?.into_result()?;
/// // A rollback.
/// configuration.switch(&cx, &new, &old).await?.into_result()?;
/// # Ok(())
/// # }
/// ```
///
/// # What is kept
/// - Content, owner, group, permission bits, and the extended attributes `security.*`, `user.*` and
///   those of access control lists. Times are not kept: a switched file is as old as the switch.
/// - Symbolic links as links, with owner and group; they are not followed. A relative link is read in the
///   live folder, not in the store.
/// - A file with several hard links becomes separate files.
/// - At most 64 MiB, where each entry counts 512 bytes beside its content.
/// - Pipes, sockets and devices are refused with their path, and so are files with the attributes
///   `security.ima` and `security.evm`, which no copy can have.
///
/// # The new release
/// [`keep_new`](Configuration::keep_new) keeps the content of `new` with the owners, groups, modes and
/// attributes of the live set, so that a checkout of the configuration is enough. An entry takes them from
/// the live entry of the same kind and path. Where there is none, it has its own mode, and the owner and
/// the group of the root of the live set.
///
/// # The switch
/// - A complete copy of the set is made next to the live folder. The two change their names in one step
///   (`renameat2` with `RENAME_EXCHANGE`), and the old one is removed. A file is replaced by a rename.
///   Everything is on disk before the next step.
/// - Where `live` is a symbolic link, the link stays, and the folder or file that it leads to is replaced.
/// - A reader that opens `live/file` finds the file, old or new and complete, also during a switch, if it
///   has opened it within 10 milliseconds after it found the folder. Two opens may see two sets. A process
///   that keeps the folder itself open, as its working directory or as a bind mount of a container, sees
///   the old folder, which is then empty, until it is restarted.
/// - A file that somebody edits in the moment of a switch of a folder is noticed after the exchange; the
///   two then change their names again. A write by a process that has opened the file before that and
///   writes after it is lost.
/// - A mount point, as `live` or in it, is refused.
/// - Only root can restore files of other users. Another user gets an error before anything is changed.
///
/// # What it makes
/// Next to `live`: `.<name>.upgrade-<16 digits>`, during a switch. In the store: a folder, or file, for
/// each kept set, `lock`, and `.set.upgrade-incomplete`. What a killed process did not remove, the next
/// call removes. One call at a time works in a store; others wait.
#[derive(Debug, Clone)]
pub struct ConfigFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    live: PathBuf,
    store: PathBuf,
    new: PathBuf,
}

impl ConfigFiles {
    /// A configuration with a name for reports.
    ///
    /// - `live` is the folder, or the one file, that the services read.
    /// - `store` is a folder for the kept sets, of this configuration alone, on the file system of `live`.
    ///   A missing one is made with mode 0700, in a folder that exists; an existing one has to be private
    ///   to this user.
    /// - `new` is the folder, or the one file, of the new release. It is read by
    ///   [`keep_new`](Configuration::keep_new) alone.
    ///
    /// None of the three may be in another one.
    pub fn new(
        name: impl Into<String>,
        live: impl Into<PathBuf>,
        store: impl Into<PathBuf>,
        new: impl Into<PathBuf>,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            live: live.into(),
            store: store.into(),
            new: new.into(),
        }))
    }

    /// Does blocking work, which ends soon after nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        cx: &UpgradeContext,
        what: &str,
        work: impl FnOnce(&Inner, &CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let working = tokio::task::spawn_blocking(move || work(&inner, &stop));
        let what = format!("{what} of the configuration {}", self.0.name);
        match cx.bounded(&what, working).await? {
            Ok(result) => result.map_err(|error| error.with_phase(cx.phase())),
            Err(error) => {
                let message = format!("`{what}` did not end as it should");
                Err(Error::new(ErrorKind::Internal, message).with_source(error))
            }
        }
    }
}

#[async_trait]
impl Configuration for ConfigFiles {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn keep_live(&self, cx: &UpgradeContext) -> Result<Digest> {
        self.run(cx, "the copy", Inner::keep_live).await
    }

    async fn keep_new(&self, cx: &UpgradeContext) -> Result<Digest> {
        self.run(cx, "the copy", Inner::keep_new).await
    }

    async fn switch(&self, cx: &UpgradeContext, from: &Digest, to: &Digest) -> Result<Outcome> {
        let (from, to) = (from.clone(), to.clone());
        let work = move |inner: &Inner, stop: &_| inner.switch(&from, &to, stop);
        self.run(cx, "the switch", work).await
    }

    async fn forget(&self, cx: &UpgradeContext) -> Result<()> {
        self.run(cx, "the clean-up", Inner::forget).await
    }
}

impl Inner {
    /// The store and the live configuration, without the leftovers of killed calls.
    fn open(&self, stop: &CancellationToken) -> Result<(Store, Live)> {
        let (existing, rest) = resolve_existing(&self.store)?;
        let live = Live::open(&self.live, &existing.join(&rest))?;
        apart([&live.at().path, &existing.join(&rest)])?;
        if device(&live.at().path)? != device(&existing)? {
            let message = format!(
                "the store `{}` is on another file system than `{}`",
                shown(&self.store),
                shown(&self.live)
            );
            return Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint("name a folder on the file system of the live configuration"));
        }
        let path = std::path::absolute(&self.live).map_err(io("found", &self.live))?;
        let store = Store::open(&self.store, &path, stop)?;
        live.beside()?.remove()?;
        Ok((store, live))
    }

    fn keep_live(&self, stop: &CancellationToken) -> Result<Digest> {
        let (store, live) = self.open(stop)?;
        live.check_switch()?;
        let at = live.at();
        let set = Entry::read(&at, stop)?;
        let digest = store.keep(&set, &at, stop)?;
        match Entry::read(&at, stop)? == set {
            true => Ok(digest),
            false => Err(changing(&at.path)),
        }
    }

    fn keep_new(&self, stop: &CancellationToken) -> Result<Digest> {
        let (folder, name) = resolve(&self.new)?;
        let at = folder.at(&name);
        let (existing, rest) = resolve_existing(&self.store)?;
        apart([&at.path, &existing.join(rest)])?;
        let (store, live) = self.open(stop)?;
        if at.path != live.at().path {
            apart([&at.path, &live.at().path])?;
        }
        let of_live = Entry::read(&live.at(), stop)?;
        let new = Entry::read(&at, stop)?;
        if new.kind() != of_live.kind() {
            let message = format!(
                "`{}` is {}, and `{}` is {}",
                shown(&self.new),
                new.kind(),
                shown(&self.live),
                of_live.kind()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint("a folder takes the place of a folder, and a file that of a file"));
        }
        let set = new.clone().in_place_of(&of_live);
        let digest = store.keep(&set, &at, stop)?;
        match Entry::read(&at, stop)? == new {
            true => Ok(digest),
            false => Err(changing(&at.path)),
        }
    }

    fn switch(&self, from: &Digest, to: &Digest, stop: &CancellationToken) -> Result<Outcome> {
        let (store, live) = match self.open(stop) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::failed(error)),
            other => other?,
        };
        let set = Entry::read(&live.at(), stop)?;
        let digest = set.digest();
        if digest == *to {
            // A killed call may not have come to that.
            live.sync()?;
            return Ok(Outcome::NothingToDo);
        }
        if digest != *from {
            let path = live.at().path;
            let of_from = Difference::between(&store.read(from, stop)?, &set, &path);
            // Who edits the files after a switch that was killed edits those of `to`.
            let of_to = store.read(to, stop);
            let of_to = of_to.map(|to| Difference::between(&to, &set, &path));
            let nearest = std::iter::once(of_from)
                .chain(of_to)
                .min_by_key(Difference::len);
            return Ok(self.edited(nearest));
        }
        let wanted = store.read(to, stop)?;
        store.keep(&set, &live.at(), stop)?;
        let copy = live.beside()?;
        copy.fill(&wanted, &store.at(to), stop)?;
        match live.replace(copy, &set, stop)? {
            None => Ok(Outcome::Done),
            difference => Ok(self.edited(difference)),
        }
    }

    fn edited(&self, difference: Option<Difference>) -> Outcome {
        let what = difference.map(|difference| format!(": {difference}"));
        let message = format!(
            "the configuration `{}` is not as it was kept{}",
            self.name,
            what.unwrap_or_default()
        );
        Outcome::failed(Error::new(ErrorKind::Refused, message).with_hint(format!(
            "compare with the copies in `{}`; then undo the change, or take it over into a new upgrade",
            shown(&self.store)
        )))
    }

    fn forget(&self, stop: &CancellationToken) -> Result<()> {
        let (existing, rest) = resolve_existing(&self.store)?;
        if !rest.as_os_str().is_empty() {
            // Without a store nothing was kept.
            return Live::open(&self.live, &existing.join(rest)).map(drop);
        }
        let (store, live) = self.open(stop)?;
        let set = Entry::read(&live.at(), stop)?;
        store.forget_all_but(&set.digest(), stop)
    }
}

/// Refuses a path inside of another.
fn apart([one, other]: [&Path; 2]) -> Result<()> {
    if !one.starts_with(other) && !other.starts_with(one) {
        return Ok(());
    }
    let message = format!("`{}` and `{}` are not apart", shown(one), shown(other));
    Err(Error::new(ErrorKind::InvalidInput, message).with_hint(
        "the live configuration, the new one and the store are three folders, none in another",
    ))
}
