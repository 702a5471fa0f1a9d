//! What a rollback keeps and loses, told before anything moves, and what somebody has agreed to lose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Attestation, Operation, World};
use crate::configuration::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Entry;
use crate::plan::Plan;
use crate::rollback::{Estimate, Loss, LossKind};
use crate::subject::Subject;
use crate::upgrade::Upgrade;

/// The word by which [`Consent`] names everything that users write after the upgrade began.
pub const WRITES: &str = "writes";

/// The word by which [`Consent`] names a change of the schema that somebody else has made since the upgrade:
/// it stays, and the previous release gets it.
pub const SCHEMA: &str = "schema";

/// The word by which [`Consent`] names edits of the configuration since the upgrade: the edited files stay, and
/// the previous release gets them.
pub const CONFIGURATION: &str = "configuration";

/// What a rollback of an upgrade does to each part of the system.
///
/// It follows from the strategy, and from the rehearsals that the operation
/// [demands](super::Operation::with_attestation): what a verified rollback lost there, it loses here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RollbackContract {
    /// The strategy.
    pub strategy: String,
    /// Whether rehearsals told the losses. Otherwise only those are known that follow from the strategy.
    pub rehearsed: bool,
    /// What is lost; everything else is kept.
    pub losses: Vec<Loss>,
    /// The artifact to which each service returns, where that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// The configuration to which the system returns, byte for byte, where the upgrade switches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Digest>,
    /// How long it takes, where rehearsals told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// What a rollback does to a part of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate<'c> {
    /// It stays, with what users wrote to it.
    Kept,
    /// It loses this.
    Lost(&'c Loss),
    /// No rehearsal has told it.
    Unknown,
}

impl RollbackContract {
    /// What a rollback of a plan does, as far as it is known.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where it would take longer than its budget.
    pub(super) fn of(
        upgrade: &Upgrade,
        world: &World,
        plan: &Plan,
        attested: Option<&Attestation>,
    ) -> Result<Self> {
        let strategy = plan.strategy().unwrap_or_default().to_owned();
        let mut all = upgrade.rollbacks().iter();
        let keeps_writes = all.any(|one| one.name() == strategy && one.keeps_writes());
        let of_it = |attestation: &Attestation| attestation.losses.get(&strategy).cloned();
        let mut losses = attested.and_then(of_it).unwrap_or_default();
        if !keeps_writes {
            losses.retain(|loss| loss.kind != LossKind::Writes);
            let message = "everything that is written after the upgrade began";
            losses.push(Loss::new(LossKind::Writes, WRITES, message));
        }
        let estimate = attested.zip(world.bytes).and_then(|(attestation, bytes)| {
            Estimate::new(
                &attestation.timings,
                &strategy,
                bytes,
                plan.rollback_within_ms,
            )
        });
        if let Some(estimate) = estimate.as_ref().filter(|estimate| !estimate.fits()) {
            let message = "a rollback would take longer than its budget, and nothing was done";
            return Err(Error::new(ErrorKind::Refused, message)
                .with_context("predicted", estimate)
                .with_hint(
                    "choose a strategy whose time does not grow with the data, or allow more time: \
                     `Upgrade::with_rollback_within`",
                ));
        }
        Ok(Self {
            strategy,
            rehearsed: attested.is_some(),
            losses,
            services: world.artifacts.from.clone(),
            configuration: world.switches().map(|(live, _)| live),
            estimate,
        })
    }

    /// What it does to a table, a column, or anything else that a loss names.
    pub fn fate(&self, subject: impl Into<Subject>) -> Fate<'_> {
        let subject = subject.into();
        let table = subject
            .column()
            .map(|column| Subject::from(column.table.clone()));
        let concerns = |loss: &&Loss| {
            loss.subject == subject
                || loss.subject == WRITES
                || table.as_ref().is_some_and(|table| loss.subject == *table)
        };
        match self.losses.iter().find(concerns) {
            Some(loss) => Fate::Lost(loss),
            None if self.rehearsed => Fate::Kept,
            None => Fate::Unknown,
        }
    }
}

impl fmt::Display for RollbackContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            strategy,
            rehearsed,
            losses,
            services,
            configuration,
            estimate,
        } = self;
        write!(
            f,
            "rollback     by {strategy}, possible until the upgrade is made final"
        )?;
        for loss in losses {
            write!(f, "\nloses        {}: {loss}", loss.subject)?;
        }
        match (rehearsed, losses.is_empty()) {
            (true, true) => write!(f, "\nloses        nothing")?,
            (true, false) => write!(f, "\nkeeps        everything else")?,
            (false, _) => write!(f, "\nloses        more, perhaps: no rehearsal is attested")?,
        }
        for (service, artifact) in services {
            write!(f, "\nservice      {service} returns to {artifact}")?;
        }
        if let Some(digest) = configuration {
            write!(f, "\nconfig       returns to {digest:.12}")?;
        }
        match estimate {
            Some(estimate) => write!(f, "\ntakes        {estimate}"),
            None => write!(
                f,
                "\ntakes        not known: attest rehearsals of the rollback at three sizes of data"
            ),
        }
    }
}

/// What somebody has agreed to lose in a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Consent {
    /// Nothing.
    #[default]
    Nothing,
    /// The losses of these subjects, such as `table public.parcels`, `column public.orders.note`, or
    /// [`writes`](WRITES).
    To(BTreeSet<String>),
    /// Whatever it is.
    Everything,
}

impl Consent {
    /// To the losses of these subjects.
    pub fn to<S: Into<String>>(subjects: impl IntoIterator<Item = S>) -> Self {
        let subjects: BTreeSet<String> = subjects.into_iter().map(Into::into).collect();
        match subjects.is_empty() {
            true => Self::Nothing,
            false => Self::To(subjects),
        }
    }

    /// To what either of them says.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::To(mut one), Self::To(other)) => {
                one.extend(other);
                Self::To(one)
            }
            (Self::Nothing, one) | (one, Self::Nothing) => one,
        }
    }

    /// Whether it names this, or everything.
    pub(crate) fn names(&self, word: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::To(subjects) => subjects.contains(word),
            Self::Everything => true,
        }
    }

    fn covers(&self, loss: &Loss) -> bool {
        loss.kind == LossKind::Other
            || self.names(loss.subject.as_str())
            || (loss.kind == LossKind::Writes && self.names(WRITES))
    }

    /// Refuses losses to which nobody has agreed.
    pub(crate) fn refuse_others(&self, losses: &[Loss]) -> Result<()> {
        let others: Vec<&Loss> = losses.iter().filter(|loss| !self.covers(loss)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let subjects: BTreeSet<String> = others
            .iter()
            .map(|loss| format!("`{}`", loss.subject))
            .collect();
        let messages: Vec<String> = others.iter().map(ToString::to_string).collect();
        let message = "a rollback loses what nobody has agreed to lose, and nothing was done";
        Err(Error::new(ErrorKind::Refused, message)
            .with_context("lost", messages.join("; "))
            .with_hint(format!(
                "agree to it: {}",
                subjects.into_iter().collect::<Vec<_>>().join(", ")
            )))
    }
}

impl Operation {
    /// Writes to what somebody agrees, where that is more than before.
    pub(super) async fn write_consent(&self, before: &Consent) -> Result<()> {
        let to = self.consent.clone();
        if before.clone().and(to.clone()) != *before {
            self.journal.append(None, Entry::Consented { to }).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::TableRef;

    fn losses() -> Vec<Loss> {
        let orders = TableRef::new("public.orders");
        vec![
            Loss::new(
                LossKind::Values,
                orders.column("note"),
                "the values of note",
            ),
            Loss::new(LossKind::Writes, orders, "what was written to orders"),
            Loss::new(LossKind::Other, "statistics", "statistics"),
        ]
    }

    #[test]
    fn what_nobody_has_agreed_to_is_named() {
        let refused = |consent: &Consent| consent.refuse_others(&losses()).unwrap_err();
        let text = format!("{:?}", refused(&Consent::Nothing));
        for part in [
            "`column public.orders.note`",
            "`table public.orders`",
            "what was written",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("statistics"), "{text}");
        let text = format!("{:?}", refused(&Consent::to([WRITES])));
        assert!(text.contains("note`") && !text.contains("`table"), "{text}");
        let both = Consent::to([WRITES]).and(Consent::to(["column public.orders.note"]));
        both.refuse_others(&losses()).unwrap();
        Consent::Nothing
            .and(Consent::Everything)
            .refuse_others(&losses())
            .unwrap();
    }

    #[test]
    fn a_part_is_kept_lost_or_unknown() {
        let orders = TableRef::new("public.orders");
        let mut contract = RollbackContract {
            strategy: "downs".to_owned(),
            rehearsed: true,
            losses: losses()[..1].to_vec(),
            services: BTreeMap::new(),
            configuration: None,
            estimate: None,
        };
        assert_eq!(contract.fate(orders.clone()), Fate::Kept);
        assert!(matches!(
            contract.fate(orders.column("note")),
            Fate::Lost(_)
        ));
        assert_eq!(contract.fate(orders.column("v")), Fate::Kept);
        contract.rehearsed = false;
        assert_eq!(contract.fate(orders.column("v")), Fate::Unknown);
        contract.losses = losses()[1..].to_vec();
        assert!(matches!(contract.fate(orders.column("v")), Fate::Lost(_)));
    }
}
