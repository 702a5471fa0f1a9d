//! What goes wrong in one container of a system on purpose, drawn from a seed.
//!
//! [`Faults`] says which kinds may be injected and how probable each is. An environment says where each
//! kind can be injected and, where it cannot, why ([`Site`]). [`Faults::draw_at`] turns both and a seed
//! into the fault of one step, and [`Faults::excluded`] names what gets no fault; both are data, and
//! the same for the same input.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How probable a fault is at each step, if nothing else is said.
const PROBABILITY: f64 = 0.3;

/// A way in which a container is disturbed. The clock is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Its processes are killed at once; recovered, it is started again on what they left.
    Kill,
    /// It is asked to stop; recovered, it is started again.
    Stop,
    /// Its processes are frozen: connections stay open and nobody answers.
    Pause,
    /// It is cut off from all networks; recovered, it has all its names again.
    Partition,
    /// What it sends is delayed, or passes slowly where the kernel cannot delay.
    SlowNetwork,
    /// Its volume of limited size is full to the last byte.
    FullDisk,
}

impl FaultKind {
    /// All kinds, in the order in which they are drawn.
    pub const ALL: [Self; 6] = [
        Self::Kill,
        Self::Stop,
        Self::Pause,
        Self::Partition,
        Self::SlowNetwork,
        Self::FullDisk,
    ];

    /// The name, as it stands in plans, reports and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::SlowNetwork => "slow_network",
            Self::FullDisk => "full_disk",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("there is no fault `{name}`"),
            )
            .with_hint(format!(
                "there are: {}",
                Self::ALL.map(Self::as_str).join(", ")
            ))
        })
    }
}

/// A fault of one container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceFault {
    /// What happens.
    pub kind: FaultKind,
    /// To which service.
    pub service: String,
    /// To which of its containers, counted from 1.
    pub replica: u32,
}

impl ServiceFault {
    /// A fault of the first container of a service.
    pub fn new(kind: FaultKind, service: impl Into<String>) -> Self {
        Self {
            kind,
            service: service.into(),
            replica: 1,
        }
    }

    /// Of another one of its containers, counted from 1.
    #[must_use]
    pub fn of_replica(mut self, replica: u32) -> Self {
        self.replica = replica;
        self
    }

    /// The container, by the name that it has in logs.
    pub fn target(&self) -> String {
        format!("{}.{}", self.service, self.replica)
    }
}

impl fmt::Display for ServiceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.target())
    }
}

/// Where a kind of fault could be injected, and whether it can.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// The kind.
    pub kind: FaultKind,
    /// The service.
    pub service: String,
    /// How many containers it has.
    pub replicas: u32,
    /// Why it cannot be injected there.
    pub closed: Option<String>,
}

impl Site {
    /// A site at which the fault can be injected.
    pub fn open(kind: FaultKind, service: impl Into<String>, replicas: u32) -> Self {
        Self {
            kind,
            service: service.into(),
            replicas,
            closed: None,
        }
    }

    /// Closed for this reason.
    #[must_use]
    pub fn closed(mut self, reason: impl Into<String>) -> Self {
        self.closed = Some(reason.into());
        self
    }
}

/// Which faults may be injected, and how probable each is at each step.
///
/// ```
/// use upgrade_core::fault::{FaultKind, Faults, Site};
///
/// # fn main() -> upgrade_core::Result<()> {
/// let faults = Faults::all().without("slow_network")?;
/// let sites = [Site::open(FaultKind::Pause, "api", 2)];
/// let fault = faults.draw_at(7, 1, &sites);
/// assert_eq!(fault, faults.draw_at(7, 1, &sites));
/// println!("{}", faults.excluded(&sites));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Faults(BTreeMap<FaultKind, f64>);

impl Faults {
    /// Every kind, each with a probability of 0.3 at each step.
    pub fn all() -> Self {
        Self(FaultKind::ALL.map(|kind| (kind, PROBABILITY)).into())
    }

    /// No kind.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Without the kind of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no such kind.
    pub fn without(self, name: &str) -> Result<Self> {
        Ok(self.without_kind(name.parse()?))
    }

    /// Without this kind.
    #[must_use]
    pub fn without_kind(mut self, kind: FaultKind) -> Self {
        self.0.remove(&kind);
        self
    }

    /// With a kind at this probability.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not between 0 and 1.
    pub fn with(mut self, kind: FaultKind, probability: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the probability of `{kind}` cannot be {probability}"),
            )
            .with_hint("it lies between 0 and 1"));
        }
        self.0.insert(kind, probability);
        Ok(self)
    }

    /// What is injected at one step, counted from 1. Of several kinds that were drawn, the first in the
    /// order of [`FaultKind::ALL`] does.
    ///
    /// Each kind is drawn for itself: switching one off moves no other to another container.
    pub fn draw_at(&self, seed: u64, step: u32, sites: &[Site]) -> Option<ServiceFault> {
        self.0.iter().find_map(|(kind, probability)| {
            let of_kind = sites.iter().filter(|site| site.kind == *kind);
            let open = of_kind.filter(|site| site.closed.is_none() && site.replicas > 0);
            let open: Vec<&Site> = open.collect();
            if !happens(*probability, draw(seed, step, *kind, "injected")) {
                return None;
            }
            let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
            let site = below(count, draw(seed, step, *kind, "site"));
            let site = open.get(usize::try_from(site).ok()?)?;
            let replica = below(site.replicas, draw(seed, step, *kind, "replica"));
            Some(ServiceFault::new(*kind, &site.service).of_replica(replica + 1))
        })
    }

    /// What gets no fault, and why.
    pub fn excluded(&self, sites: &[Site]) -> Excluded {
        let closed = sites.iter().filter_map(|site| {
            let reason = site.closed.clone()?;
            self.0.contains_key(&site.kind).then(|| Closed {
                kind: site.kind,
                service: site.service.clone(),
                reason,
            })
        });
        let off = FaultKind::ALL.into_iter();
        Excluded {
            off: off.filter(|kind| !self.0.contains_key(kind)).collect(),
            closed: closed.collect(),
        }
    }
}

/// What gets no fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Excluded {
    /// The kinds that were switched off.
    pub off: Vec<FaultKind>,
    /// Where a kind cannot be injected.
    pub closed: Vec<Closed>,
}

/// Where a kind of fault cannot be injected, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Closed {
    /// The kind.
    pub kind: FaultKind,
    /// The service.
    pub service: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in &self.off {
            writeln!(f, "  {kind}: switched off")?;
        }
        for closed in &self.closed {
            let Closed {
                kind,
                service,
                reason,
            } = closed;
            writeln!(f, "  {kind} {service}: not here, {reason}")?;
        }
        Ok(())
    }
}

/// A number that depends on all of these and on nothing else.
fn draw(seed: u64, step: u32, kind: FaultKind, what: &str) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"upgrade fault ").update(&seed.to_le_bytes());
    hasher.update(&step.to_le_bytes());
    hasher.update(kind.as_str().as_bytes()).update(b" ");
    hasher.update(what.as_bytes());
    let mut bytes = [0; 4];
    hasher.finalize_xof().fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// Whether something of this probability happens.
fn happens(probability: f64, drawn: u32) -> bool {
    f64::from(drawn) < probability * (f64::from(u32::MAX) + 1.0)
}

/// A number from 0 and less than `count`.
fn below(count: u32, drawn: u32) -> u32 {
    // The upper half of the product is below the count.
    ((u64::from(drawn) * u64::from(count)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sites() -> Vec<Site> {
        let of = |kind| {
            [
                Site::open(kind, "api", 3),
                match kind {
                    FaultKind::FullDisk => Site::open(kind, "db", 1),
                    _ => Site::open(kind, "db", 1).closed("it holds the data"),
                },
            ]
        };
        FaultKind::ALL.into_iter().flat_map(of).collect()
    }

    /// The fault at each step from 1 to `steps`.
    fn drawn(faults: &Faults, seed: u64, steps: u32) -> Vec<Option<ServiceFault>> {
        (1..=steps)
            .map(|step| faults.draw_at(seed, step, &sites()))
            .collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_something_else() {
        let faults = Faults::all();
        let all = drawn(&faults, 1, 50);
        assert_eq!(all, drawn(&faults, 1, 50));
        assert_ne!(all, drawn(&faults, 2, 50));
        let kinds: BTreeSet<_> = all.iter().flatten().map(|fault| fault.kind).collect();
        assert!(kinds.len() > 3);
        let replicas: BTreeSet<_> = all.iter().flatten().map(|fault| fault.replica).collect();
        assert!(replicas.into_iter().eq([1, 2, 3]));
    }

    #[test]
    fn what_is_off_or_unavailable_is_never_injected_and_is_listed() {
        let faults = Faults::all().without("kill").unwrap();
        let all = drawn(&faults, 1, 200);
        let all = all.iter().flatten();
        assert!(all.clone().all(|fault| fault.kind != FaultKind::Kill));
        let on_the_database = all.filter(|fault| fault.service == "db");
        assert!(on_the_database.clone().count() > 0);
        for fault in on_the_database {
            assert_eq!(fault.kind, FaultKind::FullDisk);
        }
        let text = faults.excluded(&sites()).to_string();
        assert!(text.contains("kill: switched off"), "{text}");
        assert!(
            text.contains("pause db: not here, it holds the data"),
            "{text}"
        );
        assert!(!text.contains("kill db"), "{text}");
    }

    #[test]
    fn the_probability_is_kept_and_one_kind_does_not_move_another() {
        let pause = |probability| Faults::none().with(FaultKind::Pause, probability).unwrap();
        let injected = |faults: &Faults| drawn(faults, 3, 1000).iter().flatten().count();
        let half = pause(0.5);
        assert!((430..570).contains(&injected(&half)), "{}", injected(&half));
        assert_eq!((injected(&pause(0.0)), injected(&pause(1.0))), (0, 1000));
        // `partition` comes later in the order, so it leaves every pause where it was.
        let more = half.clone().with(FaultKind::Partition, 0.5).unwrap();
        for (one, with_more) in drawn(&half, 3, 1000).iter().zip(drawn(&more, 3, 1000)) {
            assert!(one.is_none() || *one == with_more, "{one:?} {with_more:?}");
        }
    }

    #[test]
    fn names_are_read_back_and_unknown_ones_refused() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.as_str().parse::<FaultKind>().unwrap(), kind);
        }
        let error = Faults::all().without("netem").unwrap_err();
        assert!(error.to_string().contains("slow_network"), "{error}");
        assert!(Faults::none().with(FaultKind::Kill, f64::NAN).is_err());
    }
}
