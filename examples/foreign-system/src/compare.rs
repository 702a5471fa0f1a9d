//! What users of the older release did, replayed on both releases side by side.

use std::sync::{Arc, OnceLock};

use upgrade_core::docker::Stack;
use upgrade_core::environment::{Capabilities, DockerEnvironment};
use upgrade_core::plan::{Action, Plan};
use upgrade_core::replay::{Recorded, Recording, Replay};
use upgrade_core::side::Candidate;
use upgrade_core::validator::Validator as _;
use upgrade_core::{Error, ErrorKind, Phase, Result, Upgrade, UpgradeContext, validator_fn};

use crate::api::Client;
use crate::area::{self, Area, Item};
use crate::known::{Known, refused};
use crate::{FROM, TO, environment};

/// How many commands and how many records the recorded user sends.
const SENT: u64 = 5;
/// The numbers of what the recorded user sends begin here: nobody else has them.
const FIRST: u64 = 1_000_000;

/// The upgrade, what it is rehearsed in, and the order.
pub(crate) fn prepared(
    known: &Known,
    users: usize,
    items: usize,
    stacks: [Stack; 2],
) -> Result<(Upgrade, DockerEnvironment, Plan)> {
    let recording = Arc::new(OnceLock::new());
    let (seeded, kept) = (known.clone(), Arc::clone(&recording));
    let environment = environment(stacks).with_data(move |cx| {
        let (known, kept) = (seeded.clone(), Arc::clone(&kept));
        async move {
            known.seed(&cx, users, items).await?;
            let _ = kept.set(Recording::from_recorded(record(&cx).await?));
            Ok(())
        }
    });
    // The recording exists only once the older release runs.
    let replay = validator_fn("what a user did", move |cx| {
        let recording = recording.get().cloned();
        async move {
            let recording =
                recording.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing was recorded"))?;
            let replay = Replay::new("what a user did", "proxy", recording);
            replay.with_template("/user/{name}").validate(&cx).await
        }
    });
    let upgrade = Upgrade::new("atuin", FROM, TO).with_comparison(replay);
    let outline = upgrade.outline(Capabilities::of(&environment));
    // In the scenario `upgrade` the rows of the live system are compared first. A loss there ends the
    // upgrade before anything runs side by side.
    let label = "baseline".to_owned();
    let candidate = Candidate::Upgraded;
    let observed = label.clone();
    let steps = [
        (Phase::Baseline, Action::Snapshot { label }),
        (Phase::Baseline, Action::Observe { label: observed }),
        (Phase::Soak, Action::SideBySide { candidate }),
    ];
    let plan = Plan::from_steps(&outline, steps, 0)?;
    Ok((upgrade, environment, plan))
}

/// A user registers, writes and reads in every area. The account is removed afterwards, without a record,
/// so that the requests make it again wherever they are replayed.
async fn record(cx: &UpgradeContext) -> Result<Vec<Recorded>> {
    let client = Client::of(cx)?.recording();
    let (answer, user) = area::register(&client, "recorded").await?;
    let user = user.ok_or_else(|| refused("POST /register", &answer))?;
    for area in Area::ALL {
        let mut promised = Vec::new();
        for number in FIRST..FIRST + SENT {
            let (call, answer) = area::act(&client, area, &user, number).await?;
            if !answer.is_good() {
                return Err(refused(&call.to_string(), &answer));
            }
            promised.push(Item {
                area,
                user: 0,
                number,
                attempt: 0,
            });
        }
        area::read(&client, area, &user, &promised).await?;
    }
    let recorded = client.take_recorded();
    let answer = area::unregister(&client, &user).await?;
    match answer.is_good() {
        true => Ok(recorded),
        false => Err(refused("DELETE /account", &answer)),
    }
}
