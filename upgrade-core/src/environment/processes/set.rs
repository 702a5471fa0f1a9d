//! The running instances of all programs over one database.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::folder::tail;
use super::instance::Instance;
use super::program::Program;
use super::usage::processes_of;
use crate::context::UpgradeContext;
use crate::endpoint::{Endpoint, Endpoints, LogTail};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::net::relay::{Relay, Targets};
use crate::outcome::Outcome;
use crate::secret::Secret;

/// Which release each instance is to run: the first `count` the new one, all others the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) old: Version,
    pub(super) new: Version,
    pub(super) count: u32,
}

impl Mix {
    /// All instances of one release.
    pub(super) fn of(release: &Version) -> Self {
        Self {
            old: release.clone(),
            new: release.clone(),
            count: 0,
        }
    }
}

/// Where the connections of a relay go.
type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// The running instances of all programs over one database, behind endpoints that stay the same.
#[derive(Debug)]
pub(super) struct ProgramSet {
    programs: Arc<[Program]>,
    database: Secret,
    folder: PathBuf,
    running: BTreeMap<(usize, u32), Instance>,
    /// By program: where its connections come in, and where they go.
    relays: BTreeMap<usize, (Relay, Addresses)>,
    mix: Option<Mix>,
}

impl ProgramSet {
    /// Without any process yet. Each program has its address already.
    pub(super) async fn new(
        programs: Arc<[Program]>,
        database: Secret,
        folder: PathBuf,
    ) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut relays = BTreeMap::new();
        for (index, program) in programs.iter().enumerate() {
            if !program.has_port {
                continue;
            }
            let targets = Arc::new(Mutex::new(Vec::new()));
            let to = Targets::Services(Arc::clone(&targets));
            let relay = Relay::listen(Ipv4Addr::LOCALHOST, 0, to, None).await?;
            relays.insert(index, (relay, targets));
        }
        Ok(Self {
            programs,
            database,
            folder,
            running: BTreeMap::new(),
            relays,
            mix: None,
        })
    }

    /// Which releases run; `None` before the first start.
    pub(super) fn mix(&self) -> Option<&Mix> {
        self.mix.as_ref()
    }

    /// Replaces instance by instance: the next one is ready before the one before it is stopped.
    pub(super) async fn become_mix(&mut self, cx: &UpgradeContext, mix: &Mix) -> Result<Outcome> {
        let mut all = Outcome::NothingToDo;
        let mut number = 0;
        let programs = Arc::clone(&self.programs);
        for (index, program) in programs.iter().enumerate() {
            for instance in 0..program.instances {
                let release = match number < mix.count {
                    true => &mix.new,
                    false => &mix.old,
                };
                number += 1;
                let serves = self.running.get(&(index, instance));
                if serves.is_some_and(|one| one.release == *release && one.runs()) {
                    continue;
                }
                let database = &self.database;
                let started =
                    Instance::start(cx, program, (release, instance), database, &self.folder);
                match started.await? {
                    Err(failed) => return Ok(failed),
                    Ok(next) => {
                        let before = self.running.insert((index, instance), next);
                        self.lead(index);
                        if let Some(before) = before {
                            before.stop().await;
                        }
                        all = Outcome::Done;
                    }
                }
            }
        }
        self.mix = Some(mix.clone());
        Ok(all)
    }

    /// Leads the connections of a program to its instances.
    fn lead(&self, program: usize) {
        let Some((_, targets)) = self.relays.get(&program) else {
            return;
        };
        let instances = self.running.range((program, 0)..(program + 1, 0));
        let addresses = instances.filter_map(|(_, instance)| instance.address);
        *targets.lock().unwrap_or_else(PoisonError::into_inner) = addresses.collect();
    }

    /// Ends all of them.
    pub(super) async fn stop(&mut self) {
        for ((program, _), instance) in std::mem::take(&mut self.running) {
            self.lead(program);
            instance.stop().await;
        }
        self.mix = None;
    }

    /// Has all of them stop where they are, or go on.
    pub(super) fn signal(&self, signal: Signal) {
        self.running
            .values()
            .for_each(|instance| instance.signal(signal));
    }

    /// Where each program can be reached, and its log: `api`, and `api.log` as a `file` URL.
    pub(super) fn endpoints(&self) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for (index, program) in self.programs.iter().enumerate() {
            if let Some((relay, _)) = self.relays.get(&index) {
                let url = format!("http://{}", relay.address());
                endpoints = endpoints.with(&program.name, Endpoint::new(url));
            }
            let log = log_of(&self.folder, program, 0);
            let url = format!("file://{}", log.display());
            endpoints = endpoints.with(format!("{}.log", program.name), Endpoint::new(url));
        }
        endpoints
    }

    /// The release that each program runs, and `None` where an instance has ended or two releases run.
    pub(super) fn releases(&self) -> BTreeMap<String, Option<Version>> {
        let programs = self.programs.iter().enumerate();
        programs
            .map(|(index, program)| {
                let mut instances = self.running.range((index, 0)..(index + 1, 0));
                let first = instances.next().filter(|(_, first)| first.runs());
                let same = |release: &Version| {
                    instances.all(|(_, other)| other.runs() && other.release == *release)
                };
                let release = first.map(|(_, first)| first.release.clone());
                (program.name.clone(), release.filter(same))
            })
            .collect()
    }

    /// The time of processors and the memory, in bytes, of all instances.
    pub(super) fn usage(&self) -> (Duration, u64) {
        let groups: BTreeSet<u32> = self.running.values().map(Instance::group).collect();
        processes_of(&groups)
    }

    pub(super) fn logs(&self, cx: &UpgradeContext, lines: usize) -> Vec<LogTail> {
        let programs = self.programs.iter();
        let instances = programs
            .flat_map(|program| (0..program.instances).map(move |instance| (program, instance)));
        instances
            .map(|(program, instance)| {
                let log = log_of(&self.folder, program, instance);
                let lines = tail(&log, lines);
                LogTail {
                    source: format!("{}-{instance}", program.name),
                    lines: lines.iter().map(|line| cx.redact(line)).collect(),
                }
            })
            .filter(|tail| !tail.lines.is_empty())
            .collect()
    }
}

pub(super) fn log_of(folder: &Path, program: &Program, instance: u32) -> PathBuf {
    folder.join(format!("{}-{instance}.log", program.name))
}

/// Refuses programs that cannot run together.
pub(super) fn check(programs: &[Program]) -> Result<()> {
    for (index, program) in programs.iter().enumerate() {
        let name = &program.name;
        let wrong = match name.as_str() {
            "" => Some("has no name".to_owned()),
            "database" => Some("has the name of the database's endpoint".to_owned()),
            name if !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) =>
            {
                Some(
                    "has a name with other characters than letters, digits, `-` and `_`".to_owned(),
                )
            }
            _ if programs[..index].iter().any(|other| other.name == *name) => {
                Some("is there twice".to_owned())
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let message = format!("program `{name}` {wrong}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}
