//! Faults of services, drawn into a plan.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::{Action, Scenario};
use crate::fault::{Excluded, Site};
use crate::ids::Phase;
use crate::plan::FaultOutline;

/// How long users go on with a fault, in milliseconds.
const LASTS_MS: u64 = 2_000;

impl Draft<'_> {
    /// After a look at the system under way: perhaps a fault, and the same look again when it is
    /// recovered. What fails then and did not before, the fault has done.
    pub(super) fn disturb(&mut self, phase: Phase) {
        let Some(outline) = &self.outline.faults else {
            return;
        };
        let under_way = matches!(phase, Phase::Switch | Phase::Soak | Phase::Verify);
        if self.attempt == 0 || !under_way || !has_faults(self.scenario()) {
            return;
        }
        self.places += 1;
        let sites = sites_of_both(outline);
        let Some(fault) = outline.faults.draw_at(self.seed, self.places, &sites) else {
            return;
        };
        let inject = Action::InjectFault {
            fault: fault.clone(),
            for_ms: LASTS_MS,
        };
        self.push(phase, inject);
        self.push(phase, Action::Recover { fault });
        self.push(phase, Action::Validate);
    }

    /// What was not drawn, and why.
    pub(super) fn excluded(&self) -> Option<Excluded> {
        let outline = self.outline.faults.as_ref()?;
        has_faults(self.scenario()).then(|| outline.faults.excluded(&sites_of_both(outline)))
    }
}

/// Whether services are replaced in it.
fn has_faults(scenario: Scenario) -> bool {
    matches!(scenario, Scenario::Upgrade | Scenario::Rolling)
}

/// Where a fault can be injected whichever release runs, since both run for a time: with as many
/// containers as there always are, and closed where it is closed in one of them.
fn sites_of_both(outline: &FaultOutline) -> Vec<Site> {
    let key = |site: &Site| (site.kind, site.service.clone());
    let to: BTreeMap<_, &Site> = outline.to.iter().map(|site| (key(site), site)).collect();
    let both = outline.from.iter().filter_map(|from| {
        let to = to.get(&key(from))?;
        let mut site = from.clone();
        site.replicas = from.replicas.min(to.replicas);
        site.closed = from.closed.clone().or_else(|| to.closed.clone());
        Some(site)
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;
    use crate::environment::Capabilities;
    use crate::fault::{FaultKind, Faults, ServiceFault};
    use crate::plan::{Outline, Plan, Step};
    use crate::upgrade::Upgrade;

    fn outline(faults: Faults, from: &[Site], to: &[Site]) -> Outline {
        let powers = Capabilities::none()
            .with_snapshots()
            .with_service_faults()
            .with_instances(2);
        let mut outline = Upgrade::new("shop", "1", "2").outline(powers);
        outline.faults = Some(FaultOutline {
            faults,
            from: from.to_vec(),
            to: to.to_vec(),
        });
        outline
    }

    fn always(kind: FaultKind) -> Faults {
        Faults::none().with(kind, 1.0).unwrap()
    }

    fn injected(plan: &Plan) -> Vec<&ServiceFault> {
        let all = plan.steps.iter().filter_map(|step| match &step.action {
            Action::InjectFault { fault, .. } => Some(fault),
            _ => None,
        });
        all.collect()
    }

    #[test]
    fn each_fault_is_recovered_from_and_observed_and_none_is_injected_before_the_baseline() {
        let sites = [Site::open(FaultKind::Pause, "api", 2)];
        let outline = outline(always(FaultKind::Pause), &sites, &sites);
        for scenario in [Scenario::Upgrade, Scenario::Rolling] {
            let plan = plan(&outline, scenario, 7).unwrap();
            let steps: Vec<&Step> = plan.steps.iter().collect();
            let places = steps
                .iter()
                .enumerate()
                .filter(|(_, step)| matches!(step.action, Action::InjectFault { .. }));
            assert!(places.clone().count() > 0, "{plan}");
            for (index, step) in places {
                let Action::InjectFault { fault, .. } = &step.action else {
                    unreachable!()
                };
                assert_eq!(steps[index - 1].action, Action::Validate);
                let recover = Action::Recover {
                    fault: fault.clone(),
                };
                assert_eq!(steps[index + 1].action, recover);
                assert_eq!(steps[index + 2].action, Action::Validate);
                assert!(step.attempt > 0 && step.phase != Phase::Baseline);
            }
            let json = plan.to_json();
            assert_eq!(Plan::from_json(&json).unwrap(), plan);
        }
        let control = plan(&outline, Scenario::Control, 7).unwrap();
        assert!(injected(&control).is_empty() && control.excluded.is_none());
    }

    #[test]
    fn the_seed_decides_and_switching_a_kind_off_moves_no_other() {
        let kinds = [FaultKind::Kill, FaultKind::Pause, FaultKind::Partition];
        let sites = kinds.map(|kind| Site::open(kind, "api", 3));
        let with = |faults: Faults, seed| {
            plan(&outline(faults, &sites, &sites), Scenario::Rolling, seed).unwrap()
        };
        let all = with(Faults::all(), 1);
        assert_eq!(all, with(Faults::all(), 1));
        let others: Vec<Plan> = (2..12).map(|seed| with(Faults::all(), seed)).collect();
        assert!(others.iter().any(|other| injected(other) != injected(&all)));

        let off = Faults::all().without("kill").unwrap();
        let seed = (1..50).find(|seed| {
            let drawn = with(Faults::all(), *seed);
            let kinds: Vec<FaultKind> = injected(&drawn).iter().map(|fault| fault.kind).collect();
            kinds.contains(&FaultKind::Kill) && kinds.contains(&FaultKind::Pause)
        });
        let seed = seed.expect("one of fifty");
        let (drawn, without) = (with(Faults::all(), seed), with(off, seed));
        let pauses = |plan: &Plan| -> Vec<ServiceFault> {
            let all = injected(plan).into_iter();
            all.filter(|fault| fault.kind == FaultKind::Pause)
                .cloned()
                .collect()
        };
        assert!(
            injected(&without)
                .iter()
                .all(|it| it.kind != FaultKind::Kill)
        );
        assert!(
            pauses(&drawn)
                .iter()
                .all(|it| pauses(&without).contains(it))
        );
        assert!(
            without.to_string().contains("kill: switched off"),
            "{without}"
        );
    }

    #[test]
    fn only_what_both_releases_have_and_bear_gets_a_fault() {
        let kill = |service| Site::open(FaultKind::Kill, service, 4);
        let from = [kill("api"), kill("old"), kill("db")];
        let to = [
            Site::open(FaultKind::Kill, "api", 1),
            kill("new"),
            kill("db").closed("its data would go"),
        ];
        let plan = plan(
            &outline(always(FaultKind::Kill), &from, &to),
            Scenario::Rolling,
            3,
        )
        .unwrap();
        let first = ServiceFault::new(FaultKind::Kill, "api");
        assert!(
            injected(&plan).iter().all(|fault| **fault == first),
            "{plan}"
        );
        let text = plan.to_string();
        assert!(
            text.contains("kill db: not here, its data would go"),
            "{text}"
        );
    }
}
