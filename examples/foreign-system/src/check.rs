//! What must hold at every stop: each call of the older release is answered, and by what users were
//! promised.

use std::collections::BTreeMap;

use upgrade_core::{Finding, Phase, Result, UpgradeContext, Verdict};

use crate::api::{Call, Client};
use crate::area::{self, Area, Item};
use crate::known::{Known, tables};

/// Each call is made so often, since the replicas take turns.
const ASKED: usize = 2;

/// What is wrong with the answers to a call.
#[derive(Default)]
struct Wrong {
    /// The first answer of those that say that there is no such call.
    gone: Option<String>,
    /// The first of the other bad ones.
    failed: Option<String>,
    seeded: usize,
    promised: usize,
}

/// Whether every call in an area is answered as users were promised.
pub(crate) async fn holds(cx: UpgradeContext, known: Known, area: Area) -> Result<Verdict> {
    let client = Client::of(&cx)?;
    let users = known.lock().users.clone();
    let mut all: BTreeMap<Call, Wrong> = BTreeMap::new();
    for (index, user) in users.iter().enumerate() {
        let promised: Vec<Item> = {
            let state = known.lock();
            let mine = state.promised.iter().filter(|item| {
                (item.area, item.user) == (area, index) && [0, cx.attempt()].contains(&item.attempt)
            });
            mine.copied().collect()
        };
        for _ in 0..ASKED {
            for judged in area::read(&client, area, user, &promised).await? {
                if cx.phase() == Phase::Baseline && judged.answer.is_good() {
                    known.lock().answered.insert(judged.call);
                }
                let wrong = all.entry(judged.call).or_default();
                let said = || Some(judged.answer.to_string());
                if judged.answer.is_good() {
                    let missing = judged.missing.iter();
                    let seeded = missing.filter(|item| item.attempt == 0).count();
                    wrong.seeded = wrong.seeded.max(seeded);
                    wrong.promised = wrong.promised.max(judged.missing.len() - seeded);
                } else if judged.answer.is_gone() {
                    wrong.gone = wrong.gone.take().or_else(said);
                } else {
                    wrong.failed = wrong.failed.take().or_else(said);
                }
            }
        }
    }
    let rows_left = rows_left(&cx, &known, area).await?;
    let mut findings = Vec::new();
    for (call, wrong) in all {
        let answered = known.lock().answered.contains(&call);
        let subject = call.to_string();
        if let Some(said) = wrong.gone.filter(|_| answered) {
            let message = format!(
                "no longer works in release {}: it answers {said}; {} answers it{rows_left}",
                cx.to(),
                cx.from()
            );
            findings.push(Finding::error("api-gone", &subject, message));
        }
        if let Some(said) = wrong.failed {
            findings.push(Finding::error("api-fails", &subject, said));
        }
        let mut lost = |id, count: usize, what: &str| {
            if count > 0 {
                let message = format!("{count} of {what} are missing or differ, for one user");
                findings.push(Finding::error(id, &subject, message));
            }
        };
        lost(
            "seeded-lost",
            wrong.seeded,
            "what was there from the beginning",
        );
        lost(
            "acknowledged-lost",
            wrong.promised,
            "what was acknowledged since",
        );
    }
    Ok(match findings.is_empty() {
        true => Verdict::Pass,
        false => Verdict::Fail(findings),
    })
}

/// The rows of the tables that users of an area have filled.
async fn rows_left(cx: &UpgradeContext, known: &Known, area: Area) -> Result<String> {
    let now = tables(cx).await?;
    let filled = known.lock().filled.get(&area).cloned().unwrap_or_default();
    let left = filled.iter().filter_map(|name| {
        let rows = now.get(name).filter(|rows| **rows > 0)?;
        Some(format!("{rows} in {name}"))
    });
    let left: Vec<String> = left.collect();
    Ok(match left.is_empty() {
        true => String::new(),
        false => format!(", and its users' rows are still there: {}", left.join(", ")),
    })
}
