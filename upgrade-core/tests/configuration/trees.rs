//! Laws, over random trees: nested, with empty folders, odd names, links, modes and owners.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use upgrade_core::configuration::Configuration;

use super::support::{Place, Seen, cx, failure, is_root, keep, seen, set_mode, switch};

/// A file, a folder or a link, with a mode and an owner.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    owner: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, Node>),
    Link(OsString),
}

impl Node {
    fn make(&self, path: &Path) {
        match &self.kind {
            Kind::File(content) => fs::write(path, content).unwrap(),
            Kind::Link(target) => symlink(target, path).unwrap(),
            Kind::Folder(entries) => {
                fs::create_dir(path).unwrap();
                for (name, node) in entries {
                    node.make(&path.join(name));
                }
            }
        }
        if is_root() {
            lchown(path, Some(self.owner), Some(self.owner * 2)).unwrap();
        }
        match (&self.kind, is_root()) {
            (Kind::Link(_), _) => {}
            (_, true) => set_mode(path, self.mode),
            // Without its own rights a user cannot read its files.
            (_, false) => set_mode(path, self.mode & 0o1777 | 0o700),
        }
    }
}

fn name() -> impl Strategy<Value = OsString> {
    let odd = select(vec![
        &b"a b"[..],
        b"new\nline",
        b"\xff\xfe",
        b"-rf",
        b"...",
        b"\xc3\xbc",
        b"*'\"",
    ]);
    let any = vec(any::<u8>(), 1..12).prop_filter("a name", |name| {
        !matches!(&name[..], b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
    });
    prop_oneof![odd.prop_map(<[u8]>::to_vec), any].prop_map(OsString::from_vec)
}

fn node(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Node> {
    let owner = select(vec![0u32, 1, 65534]);
    (kind, 0..=0o7777u32, owner).prop_map(|(kind, mode, owner)| Node { kind, mode, owner })
}

fn folder(entries: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    node(btree_map(name(), entries, 0..5).prop_map(Kind::Folder))
}

fn tree() -> impl Strategy<Value = Node> {
    let target = vec(1..=u8::MAX, 1..30).prop_map(|target| Kind::Link(OsString::from_vec(target)));
    let file = vec(any::<u8>(), 0..200).prop_map(Kind::File);
    let leaf = node(prop_oneof![3 => file, 1 => target]);
    folder(leaf.prop_recursive(4, 24, 5, |inner| folder(inner).boxed()))
}

/// The content without owners and modes; the kind stays.
fn content(of: BTreeMap<PathBuf, Seen>) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let content = |(path, seen): (_, Seen)| (path, (seen.mode & 0o170_000, seen.content));
    of.into_iter().map(content).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// A single change of a tree at a path of it.
#[derive(Debug, Clone, Copy)]
enum Change {
    Content,
    Mode,
    Owner,
    Group,
    Kind,
    Rename,
    Remove,
    Add,
}

impl Change {
    const ALL: [Self; 8] = [
        Self::Content,
        Self::Mode,
        Self::Owner,
        Self::Group,
        Self::Kind,
        Self::Rename,
        Self::Remove,
        Self::Add,
    ];

    fn make(self, live: &Path, path: &Path) {
        let facts = fs::symlink_metadata(path).unwrap();
        let remove = |path: &Path| match facts.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        };
        let new = |name: &str| path.parent().unwrap().join(name);
        match self {
            Self::Content if facts.is_file() => {
                let mut content = fs::read(path).unwrap();
                content.push(0);
                fs::write(path, content).unwrap();
            }
            Self::Mode if !facts.is_symlink() => {
                let mode = std::os::unix::fs::PermissionsExt::mode(&facts.permissions());
                set_mode(path, mode & 0o7777 ^ 0o001);
            }
            Self::Owner if is_root() => lchown(path, Some(77), None).unwrap(),
            Self::Group if is_root() => lchown(path, None, Some(77)).unwrap(),
            Self::Kind if path != live => {
                remove(path);
                symlink("elsewhere", path).unwrap();
            }
            Self::Rename if path != live => fs::rename(path, new("renamed by the test")).unwrap(),
            Self::Remove if path != live => remove(path),
            _ => fs::write(live.join("added by the test"), "").unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_switch_and_its_rollback_are_the_identity(old in tree(), new in tree()) {
        let place = Place::in_memory();
        old.make(&place.live());
        new.make(&place.path("new"));
        block_on(async {
            let files = place.files();
            let before = seen(&place.live());
            let (from, to) = keep(&files).await;
            prop_assert_eq!(&seen(&place.live()), &before);
            let differs = switch(&files, &from, &to).await.unwrap();
            prop_assert_eq!(differs, from != to);
            let switched = seen(&place.live());
            for (path, new) in &switched {
                let old = before.get(path).filter(|old| (old.mode ^ new.mode) & 0o170_000 == 0);
                let expected = old.map_or(before[Path::new("")].owner, |old| old.owner);
                prop_assert_eq!(new.owner, expected);
                prop_assert!(old.is_none_or(|old| old.mode == new.mode));
            }
            prop_assert_eq!(content(switched), content(seen(&place.path("new"))));
            prop_assert_eq!(&keep(&files).await, &(to.clone(), to.clone()));

            switch(&files, &to, &from).await.unwrap();
            prop_assert_eq!(seen(&place.live()), before);
            prop_assert_eq!(place.leftovers(), [""; 0]);
            Ok(())
        })?;
    }

    #[test]
    fn any_single_change_changes_the_digest_and_is_not_overwritten(
        tree in tree(),
        at: Index,
        change in select(Change::ALL.to_vec()),
    ) {
        let place = Place::in_memory();
        tree.make(&place.live());
        place.write("new/app.conf", "new");
        block_on(async {
            let files = place.files();
            let (from, to) = keep(&files).await;
            let before = seen(&place.live());
            let paths: Vec<&PathBuf> = before.keys().collect();
            let path = match at.get(&paths).as_os_str().is_empty() {
                true => place.live(),
                false => place.live().join(at.get(&paths)),
            };
            change.make(&place.live(), &path);
            let changed = seen(&place.live());
            prop_assume!(changed != before);
            failure(files.switch(&cx(), &from, &to).await.unwrap());
            prop_assert_eq!(seen(&place.live()), changed);
            prop_assert_ne!(files.keep_live(&cx()).await.unwrap(), from);
            Ok(())
        })?;
    }
}
